"""What pictures look like in a few words: ground, colour, size, place, shape and texture of what is on them.

What is on a picture is what differs from the colour of its rim, or what is not transparent. Photographs whose rim has
no one colour have more of it than their object; the words then say so little that they go with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tellapart.core.cues import FEWEST_OF_A_VALUE, Cue

SIDE, APART, OPAQUE = 48, 40, 128
_HUES = ((15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (255, "blue"), (290, "purple"), (345, "pink"))
COLOURS = ("black", "grey", "white", "brown", *(name for _, name in _HUES))
NAMES = (
    "ground", "colour", "brightness", "size", "place across", "place down", "shape", "texture",
)  # fmt: skip
THIRDS = {
    "brightness": ("dark", "middling", "bright"),
    "size": ("small", "middling", "large"),
    "place across": ("left", "middle", "right"),
    "place down": ("top", "middle", "bottom"),
    "shape": ("tall", "square", "wide"),
    "texture": ("smooth", "middling", "rough"),
}


def picture_cues(pictures: Sequence[Any], rows: Sequence[int]) -> list[Cue]:
    """The cues of `NAMES` of the pictures at these rows, in which they differ.

    Ground and colour are named; the others are thirds of what there is, and what all have alike (more than nine in ten
    of the numbers equal) is no cue. A value that fewer than ten have is unknown.
    """
    measured = [measures(pictures[row]) for row in rows]
    found = []
    for name in NAMES:
        values = [m[name] for m in measured]
        codes = _named(values) if name in ("ground", "colour") else _thirds(np.array(values, float))
        words = list(COLOURS if name in ("ground", "colour") else THIRDS[name])
        count = np.bincount(codes[codes >= 0], minlength=len(words))
        codes = np.where(np.append(count, 0)[codes] >= FEWEST_OF_A_VALUE, codes, -1)
        if len(np.unique(codes[codes >= 0])) > 1:
            found.append(Cue(name, codes, words))
    return found


def measures(picture: Image.Image) -> dict[str, Any]:
    """One picture in numbers, and its two colours in words; NaN or "" of what nothing is on."""
    small = picture.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BOX)
    whole = np.asarray(small, float)
    rgb, opaque = whole[..., :3], whole[..., 3] >= OPAQUE
    rim = np.zeros((SIDE, SIDE), bool)
    rim[:2], rim[-2:], rim[:, :2], rim[:, -2:] = True, True, True, True
    ground = np.median(rgb[rim & opaque] if (rim & opaque).any() else np.full((1, 3), 255.0), axis=0)
    on = opaque & (np.abs(rgb - ground).max(axis=2) > APART)
    said: dict[str, Any] = {"ground": colour_name(ground), "colour": "", **dict.fromkeys(THIRDS, float("nan"))}
    if not on.any():
        return said
    mean = rgb[on].mean(axis=0)
    down, across = np.nonzero(on)
    height, width = np.ptp(down) + 1, np.ptp(across) + 1
    light = rgb.mean(axis=2)
    steps = np.abs(np.diff(light, axis=1))[on[:, 1:] & on[:, :-1]]
    return said | {
        "colour": colour_name(mean),
        "brightness": float(mean.mean()),
        "size": float(on.mean()),
        "place across": float(across.mean()),
        "place down": float(down.mean()),
        "shape": float(np.log(width / height)),
        "texture": float(steps.mean()) if len(steps) else float("nan"),
    }


def colour_name(rgb: np.ndarray) -> str:
    """One of eleven words for a colour of 0 to 255."""
    high, low = float(rgb.max()), float(rgb.min())
    if high < 50:
        return "black"
    if high - low < 0.15 * 255 or (high - low) / high < 0.12:
        return "white" if low > 200 else "grey" if high > 80 else "black"
    r, g, b = ((high - float(v)) / (high - low) for v in rgb)
    turn = b - g if rgb[0] == high else 2 + r - b if rgb[1] == high else 4 + g - r
    hue = (60 * turn) % 360
    name = next((word for end, word in _HUES if hue < end), "red")
    return "brown" if name in ("red", "orange") and high < 150 else name


def _named(values: list[str]) -> np.ndarray:
    return np.array([COLOURS.index(v) if v else -1 for v in values])


def _thirds(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    codes = np.full(len(values), -1)
    if known.sum() < 3 * FEWEST_OF_A_VALUE:
        return codes
    kept = values[known]
    _, count = np.unique(kept, return_counts=True)
    if count.max() > 0.9 * len(kept):
        return codes
    codes[known] = np.searchsorted(np.quantile(kept, [1 / 3, 2 / 3]), kept, side="right")
    return codes
