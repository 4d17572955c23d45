"""Canonical variates as roots of matrices, then codes and rotations in turn; scipy rotates, and the loss falls."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.linalg import orthogonal_procrustes

from tellapart.contract.strategy import small_run

CASES: list[dict] = [{}, {"ridge": 0.3, "power": 1.0, "rounds": 4}, {"rounds": 0}]


def root(c: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(c)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def check(build, options: dict) -> None:
    """Cosines do not depend on the rotation; what is lost by signs does, and no other rotation nearby loses less."""
    ridge, power = options.get("ridge", 3.0), options.get("power", 0.5)
    run = small_run(seed=3)
    build(**options).begin(run)
    x, y = run.data.query.x.numpy().astype(float), run.data.document.x.numpy().astype(float)
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)  # duplicate groups are of two: equal weights
    cxx, cyy, cxy = x.T @ x / n, y.T @ y / n, x.T @ y / n
    cxx += ridge * np.trace(cxx) / len(cxx) * np.eye(len(cxx))
    cyy += ridge * np.trace(cyy) / len(cyy) * np.eye(len(cyy))
    u, s, vt = np.linalg.svd(root(cxx) @ cxy @ root(cyy))
    a, b = (root(cxx) @ u)[:, :5] * s[:5] ** power, (root(cyy) @ vt.T)[:, :5] * s[:5] ** power
    z = np.concatenate([x @ a, y @ b])
    got = []
    for side, inputs in (("query", run.data.query), ("document", run.data.document)):
        tower = run.towers[side].map
        got.append(inputs.x.numpy().astype(float) @ tower.weight.detach().numpy().T + tower.bias.detach().numpy())
    found = np.concatenate(got)
    # A rotation, with whatever signs the directions have: inner products are those of the variates.
    np.testing.assert_allclose(found @ found.T, z @ z.T, atol=1e-4)

    # From the part's own start, which is its result without rounds, the same codes and rotations by scipy.
    plain = small_run(seed=3)
    build(**{**options, "rounds": 0}).begin(plain)
    start = []
    for side, inputs in (("query", plain.data.query), ("document", plain.data.document)):
        tower = plain.towers[side].map
        start.append(inputs.x.numpy().astype(float) @ tower.weight.detach().numpy().T + tower.bias.detach().numpy())
    v, turned, losses = np.concatenate(start), np.eye(5), []
    for _ in range(options.get("rounds", 50)):
        codes = np.where(v @ turned >= 0, 1.0, -1.0)
        losses.append(((codes - v @ turned) ** 2).sum())
        turned, _ = orthogonal_procrustes(v, codes)
        losses.append(((codes - v @ turned) ** 2).sum())
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(losses))
    np.testing.assert_allclose(found, v @ turned, atol=1e-4)


def check_library_spread(build) -> None:
    """Without rounds the rotation is a random one: another with another seed, orthogonal, and not near the identity."""
    maps = []
    for seed in (0, 1):
        run = small_run(seed=3)
        run.seed = seed
        build(rounds=0).begin(run)
        maps.append(run.towers["query"].map.weight.detach().numpy().astype(float))
    turned, _ = orthogonal_procrustes(maps[0].T, maps[1].T)
    np.testing.assert_allclose(maps[0].T @ turned, maps[1].T, atol=1e-4)
    assert np.abs(turned - np.eye(5)).max() > 0.3
