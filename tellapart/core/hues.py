"""What a picture is coloured like, in one word, and how to make it another colour."""

from __future__ import annotations

from typing import Any

import numpy as np

# Hues in degrees where one colour ends and the next begins; between the last and the first it is red.
_ENDS = ((15, "red"), (42, "orange"), (70, "yellow"), (165, "green"), (262, "blue"), (300, "purple"), (345, "pink"))
SIDE, CHROMA, LEAST, COLOURED = 48, 48, 0.15, 0.5
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")


def colour_of(picture: Any) -> str:
    """The colour of most coloured pixels; "" where fewer than 15% have one, or none has half of these.

    A pixel is coloured where its largest and least channel differ by 48 of 255; a dark orange or red is brown.
    """
    x = np.asarray(picture.convert("RGB").resize((SIDE, SIDE)), float).reshape(-1, 3)
    high, low = x.max(axis=1), x.min(axis=1)
    x, high = x[high - low >= CHROMA], high[high - low >= CHROMA]
    if len(x) < LEAST * SIDE * SIDE:
        return ""
    chroma, top = high - x.min(axis=1), x.argmax(axis=1)
    after, before = np.take_along_axis(x, (top[:, None] + [[1, 2]]) % 3, 1).T
    hue = (60 * (2 * top + (after - before) / chroma)) % 360
    number = np.searchsorted([end for end, _ in _ENDS], hue, side="right") % len(_ENDS)
    number = np.where((number < 2) & (high < 150), len(_ENDS), number)
    count = np.bincount(number, minlength=len(COLOURS))
    return COLOURS[count.argmax()] if count.max() >= COLOURED * len(x) else ""


def turned_hue(picture: Any, degrees: float) -> Any:
    """The picture with all its hues turned on the circle of colours; black, white and grey stay."""
    from PIL import Image

    h, s, v = picture.convert("RGB").convert("HSV").split()
    moved = h.point(lambda value: int(value + degrees / 360 * 256) % 256)
    return Image.merge("HSV", (moved, s, v)).convert("RGB")
