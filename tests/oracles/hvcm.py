"""The distance to class mixtures over subgroups by loops; the limit of one shared covariance; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"groups": 1}, {"groups": 3, "prior": 2.5, "shrinkage": 0.3}]


def check(build, options):
    groups, prior, shrinkage = options.get("groups", 32), options.get("prior", 10.0), options.get("shrinkage", 0.01)
    rng = np.random.default_rng(0)
    y = [i % 3 for i in range(24)] + [3]
    x = rng.normal(size=(25, 5)) * 0.3 + np.eye(5)[y] * 2
    probe = np.concatenate([rng.normal(size=(6, 5)), np.zeros((1, 5))])
    part = build(**options).fit(x, y)
    blocks = [b.tolist() for b in part.maps_]
    sizes = [len(b[0]) for b in blocks]
    assert sum(sizes) == 5 and len(sizes) == min(groups, 5) and max(sizes) - min(sizes) <= 1
    whole = np.concatenate(part.maps_, axis=1)
    assert np.allclose(whole @ whole.T, np.eye(5)), "the attributes are no rotation of the features"

    expected = []
    for p in probe:
        of = {}
        for c in sorted(set(y)):
            of[c] = sum(_distance(p, c, x, y, b, prior, shrinkage) for b in blocks) / (2 * len(blocks))
        expected.append((min(of.values()), min(of, key=of.get)))
    assert np.allclose(part.score(probe), [m for m, _ in expected], rtol=1e-4)
    assert part.predict(probe).tolist() == [c for _, c in expected]
    assert np.array_equal(build(**options).fit(x, y).score(probe), part.score(probe))
    with pytest.raises(DataError, match="no class has items that differ"):
        build(**options).fit(np.eye(4), [0, 1, 2, 3])
    with pytest.raises(DataError, match="needs labels"):
        build(**options).fit(x)


def _distance(p, c, x, y, block, prior, shrinkage):
    """The squared distance in one subgroup."""
    n, width = len(x), len(block[0])
    a = [_attributes(row, block) for row in x]
    classes = sorted(set(y))
    mean = {k: [sum(a[i][j] for i in range(n) if y[i] == k) / y.count(k) for j in range(width)] for k in classes}

    def scatter(k, r, s):
        return sum((a[i][r] - mean[k][r]) * (a[i][s] - mean[k][s]) for i in range(n) if y[i] == k)

    shared = [[sum(scatter(k, r, s) for k in classes) / (n - len(classes)) for s in range(width)] for r in range(width)]
    level = sum(shared[r][r] for r in range(width)) / width
    size = y.count(c) - 1 + prior
    own = [[(scatter(c, r, s) + prior * shared[r][s]) / size for s in range(width)] for r in range(width)]
    shrunk = [
        [(1 - shrinkage) * own[r][s] + (shrinkage * level if r == s else 0.0) for s in range(width)]
        for r in range(width)
    ]
    inverse = np.linalg.inv(np.array(shrunk))
    gap = [u - v for u, v in zip(_attributes(p, block), mean[c], strict=True)]
    return sum(gap[r] * inverse[r][s] * gap[s] for r in range(width) for s in range(width))


def _attributes(row, block):
    length = math.sqrt(sum(v * v for v in row)) or 1.0
    return [sum(v / length * b[j] for v, b in zip(row, block, strict=True)) for j in range(len(block[0]))]


def check_library(build):
    """One subgroup and a small prior: scikit-learn's own covariance of each class; a large prior: one for all."""
    from sklearn.covariance import EmpiricalCovariance

    rng = np.random.default_rng(3)
    y = np.arange(300) % 3
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + 3 * np.eye(4)[y]
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    probe = rng.normal(size=(40, 4))
    unit = probe / np.linalg.norm(probe, axis=1, keepdims=True)
    theirs = [EmpiricalCovariance().fit(z[y == c]).mahalanobis(unit) * 99 / 100 for c in range(3)]
    assert np.allclose(
        build(groups=1, prior=1e-6, shrinkage=1e-6).fit(x, y).score(probe), np.min(theirs, 0) / 2, rtol=1e-4
    )

    means = np.stack([z[y == c].mean(0) for c in range(3)])
    pooled = EmpiricalCovariance(assume_centered=True).fit(z - means[y])
    theirs = [pooled.mahalanobis(unit - m) * 297 / 300 for m in means]
    ours = build(groups=1, prior=1e6, shrinkage=1e-6).fit(x, y).score(probe)
    assert np.allclose(ours, np.min(theirs, 0) / 2, rtol=1e-3)
