"""The Mahalanobis distance to the nearest mean by loops, for one layer, two, and with weights from validation data."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}, {"shrinkage": 0.0}, {"shrinkage": 0.6}]


def check(build, options):
    shrinkage = options.get("shrinkage", 0.01)
    rng = np.random.default_rng(0)
    y = [i % 3 for i in range(24)]
    x = [rng.normal(size=(24, 5)) + np.array(y)[:, None], rng.normal(size=(24, 3)) - np.array(y)[:, None]]
    probe = [rng.normal(size=(7, 5)), rng.normal(size=(7, 3))]
    layers = [_distances(a, y, b, shrinkage) for a, b in zip(x, probe, strict=True)]

    part = build(**options).fit(x[0], y)
    assert np.allclose(part.score(probe[0]), [m for m, _ in layers[0]], rtol=1e-4)
    assert part.predict(probe[0]).tolist() == [c for _, c in layers[0]]
    both = build(**options).fit(x, y)
    assert np.allclose(both.score(probe), [a + b for (a, _), (b, _) in zip(*layers, strict=True)], rtol=1e-4)

    step = 1e-5
    for j in range(5):
        up, down = probe[0].copy(), probe[0].copy()
        up[:, j] += step
        down[:, j] -= step
        slope = (part.distances(up)[:, 0] - part.distances(down)[:, 0]) / (2 * step)
        assert np.allclose(part.gradient(probe[0])[0][:, j], slope, rtol=1e-3, atol=1e-4)

    added = build(**options).fit(x[0], y).add_class(probe[0], 7)
    whole = _distances(np.concatenate([x[0], probe[0]]), [*y, *[7] * 7], x[0][:4], shrinkage)
    assert np.allclose(added.score(x[0][:4]), [m for m, _ in whole], rtol=1e-4)


def _distances(x, y, probe, shrinkage):
    """[(smallest distance, its class)] for each row of probe."""
    n, d = x.shape
    classes = sorted(set(y))
    mu = {c: [sum(x[i][j] for i in range(n) if y[i] == c) / y.count(c) for j in range(d)] for c in classes}
    s = [
        [sum((x[i][a] - mu[y[i]][a]) * (x[i][b] - mu[y[i]][b]) for i in range(n)) / n for b in range(d)]
        for a in range(d)
    ]
    level = sum(s[a][a] for a in range(d)) / d
    shrunk = [[(1 - shrinkage) * s[a][b] + (shrinkage * level if a == b else 0) for b in range(d)] for a in range(d)]
    inverse = np.linalg.pinv(np.array(shrunk))
    found = []
    for p in probe:
        of = []
        for c in classes:
            gap = [p[j] - mu[c][j] for j in range(d)]
            of.append((sum(gap[a] * inverse[a][b] * gap[b] for a in range(d) for b in range(d)), c))
        found.append(min(of))
    return found


def check_library(build):
    """scikit-learn's empirical covariance of the centred features, as the authors use it; and layer weights."""
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    y = np.arange(200) % 4
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + y[:, None]
    probe = rng.normal(size=(30, 6)) * 3
    means = np.stack([x[y == c].mean(0) for c in range(4)])
    precision = EmpiricalCovariance(assume_centered=True).fit(x - means[y]).precision_
    theirs = np.min([np.einsum("nd,de,ne->n", probe - m, precision, probe - m) for m in means], axis=0)
    part = build(shrinkage=0.0)
    assert np.allclose(part.fit(x, y).score(probe), theirs, rtol=1e-4)

    layers, known, unknown = [x, x[:, :2]], [x[:50] + 0.1, x[:50, :2] + 0.1], [probe, probe[:, :2]]
    plain = build(shrinkage=0.0).fit(layers, y)
    m = np.vstack([plain.distances(known), plain.distances(unknown)])
    r = np.sqrt(m.var(0).mean())
    judge = LogisticRegression(tol=1e-8, max_iter=5000).fit(m / r, np.repeat([0, 1], [50, 30]))
    weighted = part.fit(layers, y, validation=(known, unknown))
    assert np.allclose(weighted.layer_weights_, judge.coef_[0] / r, rtol=1e-2)
