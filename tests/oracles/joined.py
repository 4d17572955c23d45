"""Oracle: each encoder asked by itself."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tellapart.core.parts import make

CASES: list[dict] = [{}, {"parts": "hog(cells=2)|colour-histogram"}]


def check(build, options: dict) -> None:
    """Widths, order and scale of the pieces."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, size=(40, 60, 3), dtype=np.uint8)) for _ in range(3)]
    found = build(**options).encode(pictures)
    start = 0
    for spec in options.get("parts", "lite0|colour-histogram|hog").split("|"):
        alone = make("encode", spec).encode(pictures)
        width = alone.shape[1]
        np.testing.assert_allclose(found[:, start : start + width] * width**0.5, alone, rtol=1e-5, atol=1e-6)
        start += width
    assert start == found.shape[1]
