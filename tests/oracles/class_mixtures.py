"""The log-likelihood of class mixtures by loops, on kinds that any clustering finds; one component; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"components": 1}, {"components": 2, "least": 4, "shrinkage": 0.3}]


def check(build, options):
    most, least, shrinkage = options.get("components", 3), options.get("least", 10), options.get("shrinkage", 0.01)
    rng = np.random.default_rng(0)
    # Two kinds in each of two classes, of 6 and 18 items, so far apart that two clusters are they; a third class alike.
    kind = [0] * 6 + [1] * 18 + [2] * 6 + [3] * 18 + [4] * 12
    y = [[0, 0, 1, 1, 2][k] for k in kind]
    x = (
        rng.normal(size=(60, 4))
        + 30 * np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [-1, 0, 0, 0]])[kind]
    )
    probe = np.concatenate([x[::17] + 1, 9 * rng.normal(size=(5, 4))])
    twos = {c: min(most, y.count(c) // least) >= 2 for c in (0, 1, 2)}
    assert twos[0] == twos[1] == (most > 1)
    if twos[2]:  # its two clusters are not known beforehand
        x[48:54] += 30
    of = [k if twos[c] else -1 - c for k, c in zip(kind, y, strict=True)]
    if twos[2]:
        of[48:54] = [5] * 6
    part = build(**options).fit(x, y)
    parts = sorted(set(of))
    mean = {k: [sum(x[i][j] for i in range(60) if of[i] == k) / of.count(k) for j in range(4)] for k in parts}
    s = [
        [sum((x[i][a] - mean[of[i]][a]) * (x[i][b] - mean[of[i]][b]) for i in range(60)) / 60 for b in range(4)]
        for a in range(4)
    ]
    level = sum(s[a][a] for a in range(4)) / 4
    inverse = np.linalg.inv(
        np.array(
            [[(1 - shrinkage) * s[a][b] + (shrinkage * level if a == b else 0) for b in range(4)] for a in range(4)]
        )
    )
    got, said = part.score(probe), part.predict(probe)
    for i, p in enumerate(probe):
        found = {}
        for c in (0, 1, 2):
            logs = []
            for k in sorted({of[j] for j in range(60) if y[j] == c}):
                gap = [p[j] - mean[k][j] for j in range(4)]
                m = sum(gap[a] * inverse[a][b] * gap[b] for a in range(4) for b in range(4))
                logs.append(math.log(of.count(k) / y.count(c)) - m / 2)
            found[c] = max(logs) + math.log(sum(math.exp(v - max(logs)) for v in logs))
        assert got[i] == pytest.approx(-max(found.values()), rel=1e-4)
        assert said[i] == max(found, key=found.get)
    with pytest.raises(DataError, match="no class has items that differ"):
        build(**options).fit(np.eye(4).repeat(15, axis=0), [0] * 15 + [1] * 15 + [2] * 15 + [3] * 15)
    with pytest.raises(DataError, match="needs labels"):
        build(**options).fit(x)


def check_library(build):
    """scikit-learn's mixture with one covariance for all, started where the clusters are, far from each other."""
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(1)
    kind = np.arange(200) % 4
    x, probe = rng.normal(size=(200, 3)) + 40 * np.eye(4)[kind][:, :3], 20 * rng.normal(size=(20, 3))
    y = kind // 2
    part = build(components=2, shrinkage=1e-6).fit(x, y)
    means = np.stack([x[kind == k].mean(0) for k in range(4)])
    within = x - means[kind]
    covariance = within.T @ within / 200
    theirs = []
    for c in (0, 1):
        made = GaussianMixture(2, covariance_type="tied")
        made.weights_, made.means_, made.covariances_ = np.full(2, 0.5), means[2 * c : 2 * c + 2], covariance
        made.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(covariance)).T
        theirs.append(made.score_samples(probe))
    constant = -0.5 * (3 * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1])
    assert np.allclose(-part.score(probe), np.max(theirs, axis=0) - constant, rtol=1e-3)
