"""The rotation by Newton's iteration for the polar factor, one pair at a time; scipy has it for equal widths."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}]


def world(seed, new, old, n=80):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, new)), rng.normal(size=(n, old))


def unit(row):
    length = sum(v * v for v in row) ** 0.5
    return [v / length for v in row]


def polar(m):
    """The orthogonal factor of a square matrix: the mean of itself and its inverse transpose, until that stands."""
    for _ in range(200):
        m = (m + np.linalg.inv(m).T) / 2
    return m


def check(build, options):
    x, y = world(0, 5, 5)
    part = build(**options).fit(x, y)
    product = np.zeros((5, 5))
    for a, b in zip(map(unit, x), map(unit, y), strict=True):
        for i in range(5):
            for j in range(5):
                product[i, j] += a[i] * b[j]
    rotation = polar(product)
    for row, got in zip(x[:10], part.transform(x[:10]), strict=True):
        u = unit(row)
        wanted = unit([sum(u[i] * rotation[i, j] for i in range(5)) for j in range(5)])
        assert np.allclose(got, wanted, atol=1e-5)
    for new, old in ((6, 3), (3, 6)):
        # no other rotation of the wider space lies nearer
        x, y = world(1, new, old)
        weight = build(**options).fit(x, y).weight_.T.astype(float)
        small = weight.T @ weight if new > old else weight @ weight.T
        assert np.allclose(small, np.eye(3), atol=1e-5)
        ux, uy = np.array([unit(r) for r in x]), np.array([unit(r) for r in y])
        best = ((ux @ weight - uy) ** 2).sum() if new <= old else -(ux @ weight * uy).sum()
        rng = np.random.default_rng(2)
        for _ in range(200):
            other = np.linalg.qr(rng.normal(size=(max(new, old),) * 2) * 0.1 + np.eye(max(new, old)))[0]
            moved = other @ weight if new > old else weight @ other
            loss = ((ux @ moved - uy) ** 2).sum() if new <= old else -(ux @ moved * uy).sum()
            assert loss >= best - 1e-6


def check_library(build):
    """scipy's orthogonal_procrustes, with zeros beside the narrower space."""
    from scipy.linalg import orthogonal_procrustes

    for new, old in ((7, 7), (7, 4), (4, 7)):
        x, y = world(3, new, old)
        ux, uy = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        wide = max(new, old)
        r, _ = orthogonal_procrustes(np.pad(ux, ((0, 0), (0, wide - new))), np.pad(uy, ((0, 0), (0, wide - old))))
        found = build().fit(x, y).weight_.T
        assert np.allclose(found, r[:new, :old], atol=1e-5)
