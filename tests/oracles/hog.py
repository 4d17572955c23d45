"""Oracle: gradients, cells and directions by loops over the pixels."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

CASES: list[dict] = [{}, {"cells": 4, "directions": 6}]


def check(build, options: dict) -> None:
    """A random picture of the size that needs no resampling of its grey values."""
    cells, directions = options.get("cells", 8), options.get("directions", 8)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, size=(64, 64, 3), dtype=np.uint8))
    (found,) = build(**options).encode([picture])
    grey = [[v / 255 for v in row] for row in np.asarray(picture.convert("L")).tolist()]
    sums = [0.0] * (cells * cells * directions)
    for i in range(64):
        for j in range(64):
            up, down = max(i - 1, 0), min(i + 1, 63)
            left, right = max(j - 1, 0), min(j + 1, 63)
            dy = (grey[down][j] - grey[up][j]) / (down - up)
            dx = (grey[i][right] - grey[i][left]) / (right - left)
            angle = math.atan2(dy, dx) % math.pi
            bin_ = min(int(angle / math.pi * directions), directions - 1)
            cell = (i * cells // 64) * cells + j * cells // 64
            sums[cell * directions + bin_] += math.hypot(dx, dy)
    length = math.sqrt(sum(s * s for s in sums))
    edges = found[: len(sums)]
    difference = np.abs(edges - np.array(sums) / length)
    assert np.quantile(difference, 0.99) < 1e-4 and difference.max() < 0.05
    small = np.asarray(picture.resize((cells, cells))).ravel() / 255
    np.testing.assert_allclose(found[len(sums) :], small, atol=1e-6)
