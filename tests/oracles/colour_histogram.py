"""Oracle: a picture of four plain squares, its shares counted by hand."""

from __future__ import annotations

import numpy as np
from PIL import Image

CASES: list[dict] = [{}, {"hues": 6, "values": 2}]


def check(build, options: dict) -> None:
    """A quarter red, a quarter blue, a quarter black, a quarter white background."""
    hues, values = options.get("hues", 12), options.get("values", 3)
    picture = Image.new("RGB", (56, 56), "white")
    for box, colour in (((0, 0), (255, 0, 0)), ((28, 0), (0, 0, 255)), ((0, 28), (0, 0, 0))):
        picture.paste(Image.new("RGB", (28, 28), colour), box)
    (found,) = build(**options).encode([picture])
    expected = np.zeros(hues * values + values + 1)
    for hue, value, saturated in ((0, 255, True), (170, 255, True), (0, 0, False)):
        place = hue * hues // 256 * values if saturated else hues * values
        expected[place + value * values // 256] += 1 / 3
    expected = np.append(np.sqrt(expected[:-1]), 3 / 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)
