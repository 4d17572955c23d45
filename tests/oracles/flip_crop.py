"""On a picture whose colours are its coordinates the crop can be read back from the result."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

CASES: list[dict] = [{}, {"smallest": 0.08, "flip": 0.2}, {"smallest": 1.0, "flip": 1.0}]
SIDE = 96


def check(build, options):
    smallest, flip = options.get("smallest", 0.3), options.get("flip", 0.5)
    part = build(**options)
    ramp = np.arange(SIDE) * 2.0 + 20
    image = Image.fromarray(
        np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE)), np.zeros((SIDE, SIDE))], -1).astype(
            np.uint8
        )
    )
    areas, stretches, mirrored, draws = [], [], 0, 300
    for seed in range(draws):
        made = np.asarray(part(image, rng=np.random.default_rng(seed)), dtype=float)
        left, right = _line(made[..., 0].mean(0))
        top, bottom = _line(made[..., 1].mean(1))
        if left > right:
            mirrored += 1
            left, right = right, left
        assert -1.5 < left < right < SIDE + 1.5 and -1.5 < top < bottom < SIDE + 1.5
        width, height = (right - left) / SIDE, (bottom - top) / SIDE
        areas.append(width * height)
        stretches.append(np.log(width / height))
    assert mirrored / draws == pytest.approx(flip, abs=4 * (flip * (1 - flip) / draws) ** 0.5)
    assert smallest - 0.05 < min(areas) <= smallest + 0.05 and np.mean(areas) == pytest.approx(
        (smallest + 1) / 2, abs=0.05
    )
    for area, stretch in zip(areas, stretches, strict=True):
        assert abs(stretch) < min(np.log(4 / 3), -np.log(min(area, 1.0))) + 0.1
    assert smallest == 1 or np.std(stretches) > 0.1


def _line(values):
    """Where the first and the last edge of a row of pixels lie in the old picture, from a straight line through it."""
    inner = np.arange(len(values))[8:-8]
    slope, start = np.polyfit(inner + 0.5, (values[8:-8] - 20) / 2 + 0.5, 1)
    return start, start + slope * len(values)
