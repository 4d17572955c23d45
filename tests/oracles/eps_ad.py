"""EPS and the kernel by loops, of the Gaussian by its full covariance; what the network learns; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"steps": 0}, {"levels": 3, "steps": 40, "hidden": 7, "references": 6, "width": 0.3}]


def check(build, options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 4)) + [1.0, 0.0, 5.0, 0.0]
    x[:, 3] = 2.0
    probe = np.concatenate([x[:3], rng.normal(size=(2, 4))])
    part = build(**options).fit(x)
    levels = options.get("levels", 20)
    eps = [_eps(part, p, x, levels) for p in probe]
    # The part keeps to principal axes: lengths and distances are what they are in any other.
    assert np.allclose(np.linalg.norm(part.expected(probe), axis=1), np.linalg.norm(eps, axis=1), rtol=1e-5)

    count = min(len(x), options.get("references", 500))
    known = [_eps(part, x[round(math.floor(i * (len(x) - 1) / (count - 1)))], x, levels) for i in range(count)]
    squared = [[sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) for v in known] for u in known]
    bandwidth = options.get("width", 1.0) * sum(map(sum, squared)) / count**2
    expected = []
    for u in eps:
        away = [sum((a - b) ** 2 for a, b in zip(u, v, strict=True)) for v in known]
        expected.append(-math.log(sum(math.exp(-d / bandwidth) for d in away) / count) if min(away) < 500 * bandwidth
                        else None)  # fmt: skip
    assert all(e is None or s == pytest.approx(e, rel=1e-4, abs=1e-4)
               for s, e in zip(part.score(probe), expected, strict=True))  # fmt: skip
    assert sum(e is not None for e in expected) >= 3
    for wrong, said in ((np.ones((5, 3)), "are equal"), (np.ones((1, 3)), "are equal")):
        with pytest.raises(DataError, match=said):
            build(**options).fit(wrong)
    if options.get("steps", 300) >= 300:
        _learns(build)


def _eps(part, item, x, levels):
    """The mean over levels, each by the covariance of the items and the network as its weights say."""
    mean = x.mean(0)
    scale = math.sqrt(sum(np.var(x[:, j]) for j in range(x.shape[1])) / x.shape[1])
    covariance = np.cov(((x - mean) / scale).T, bias=True)
    total = np.zeros(x.shape[1])
    for t in range(1, levels + 1):
        kept = math.exp(-(0.1 * t / 1000 + 9.95 * (t / 1000) ** 2))
        noised = (
            math.sqrt(kept) * (item - mean) / scale + math.sqrt(1 - kept) * part.axes_ @ part.denoiser_.noise[t - 1]
        )
        score = -np.linalg.solve(kept * covariance + (1 - kept) * np.eye(len(mean)), noised)
        total += score - part.axes_ @ _network(part, part.axes_.T @ noised, covariance, kept, t) / math.sqrt(1 - kept)
    return total / levels


def _network(part, u, covariance, kept, t):
    w = part.denoiser_.weights
    if not w:
        return np.zeros(len(u))
    along = [part.axes_[:, j] @ covariance @ part.axes_[:, j] for j in range(len(u))]
    z = [a / math.sqrt(kept * v + 1 - kept) for a, v in zip(u, along, strict=True)]
    z += [f(math.pi * 2**k * t / 1000) for f in (math.sin, math.cos) for k in range(6)]
    for name in ("in", "mid"):
        z = [math.tanh(np.dot([*z, 1.0], column)) for column in w[name].T]
    return np.array([np.dot([*z, 1.0], column) for column in w["out"].T])


def _learns(build):
    """Two heaps on a line: the network comes much nearer to the score of their mixture than the Gaussian does."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-3, 0.3, (60, 1)), rng.normal(3, 0.3, (60, 1))])
    grid = np.linspace(-4, 4, 41)[:, None]
    wrong = []
    for steps in (0, 300):
        part = build(levels=200, steps=steps).fit(x)
        found = part.perturbed(grid, 200)[:, 0]
        kept = math.exp(-(0.1 * 0.2 + 9.95 * 0.04))
        scale = x.std()
        true = []
        for at in grid[:, 0]:
            noised = math.sqrt(kept) * part.axes_[0, 0] * (at - x.mean()) / scale
            noised += math.sqrt(1 - kept) * part.denoiser_.noise[199, 0]
            centres = [math.sqrt(kept) * part.axes_[0, 0] * (c - x.mean()) / scale for c in (-3, 3)]
            wide = kept * 0.09 / scale**2 + 1 - kept
            share = [math.exp(-((noised - c) ** 2) / 2 / wide) for c in centres]
            true.append(sum(s * (c - noised) / wide for s, c in zip(share, centres, strict=True)) / sum(share))
        wrong.append(np.abs(found - true).mean())
    assert wrong[1] < wrong[0] / 2, f"with the network {wrong[1]:.2f} wrong, without {wrong[0]:.2f}"
