"""Pictures made of factors that are dealt one by one: shape, colour, size, place, turn, ground; numpy and Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

LEVELS, SIDE = 4, 96
COLOURS = ((205, 50, 50), (45, 150, 60), (50, 80, 210), (225, 180, 40))
GROUNDS = ((245, 245, 245), (200, 225, 240), (235, 215, 190), (215, 235, 205))
SIZES, PLACES = (0.3, 0.38, 0.46, 0.54), ((0.33, 0.33), (0.67, 0.33), (0.33, 0.67), (0.67, 0.67))
FACTORS = ("shape", "colour", "size", "place", "turn", "ground")
_OUTLINES = (
    ((0, 0), (0.4, 0), (0.4, 0.6), (1, 0.6), (1, 1), (0, 1)),
    ((0, 0), (1, 0), (1, 0.35), (0.68, 0.35), (0.68, 1), (0.32, 1), (0.32, 0.35), (0, 0.35)),
    ((0.5, 0), (1, 1), (0, 1)),
    ((0, 0.3), (0.5, 0.3), (0.5, 0), (1, 0.5), (0.5, 1), (0.5, 0.7), (0, 0.7)),
)


def shapes() -> list[Image.Image]:
    """An L, a T, a triangle and an arrow, as masks: none looks the same when it is turned."""
    made = []
    for outline in _OUTLINES:
        mask = Image.new("L", (SIDE, SIDE))
        ImageDraw.Draw(mask).polygon([(x * (SIDE - 1), y * (SIDE - 1)) for x, y in outline], fill=255)
        made.append(mask)
    return made


def scene(
    masks: Sequence[Image.Image], level: Mapping[str, int], rng: np.random.Generator, *, side: int = SIDE
) -> Image.Image:
    """One picture; a factor that `level` does not name has a level of its own draw, and all have some play.

    Args:
        masks: what the levels of `shape` are.
        level: factor -> 0 to 3.
    """
    at = {name: int(rng.integers(LEVELS)) for name in FACTORS} | dict(level)
    play = rng.integers(-10, 11, (2, 3))
    ground, colour = (tuple(int(v) for v in np.clip(np.array(c) + p, 0, 255))
                      for c, p in zip((GROUNDS[at["ground"]], COLOURS[at["colour"]]), play, strict=True))  # fmt: skip
    picture = Image.new("RGB", (side, side), ground)
    size = max(4, round(side * (SIZES[at["size"]] + rng.uniform(-0.02, 0.02))))
    mask = masks[at["shape"]].resize((size, size), Image.Resampling.BOX)
    mask = mask.rotate(90 * at["turn"] + float(rng.uniform(-6, 6)))
    x, y = (side * (v + rng.uniform(-0.03, 0.03)) - size / 2 for v in PLACES[at["place"]])
    picture.paste(colour, (round(x), round(y)), mask)
    return picture


def diagonal(factors: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, factors] levels that agree on every item: each factor by itself tells the class."""
    return np.repeat(rng.permutation(np.arange(count) % LEVELS)[:, None], len(factors), axis=1)


def off_diagonal(factors: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, factors] levels dealt one by one: what a model says there is by one factor or by another."""
    return rng.integers(0, LEVELS, (count, len(factors)))


def drawn(
    masks: Sequence[Image.Image], factors: Sequence[str], levels: np.ndarray, rng: np.random.Generator, **size: int
) -> list[Image.Image]:
    """A picture for each row of levels."""
    return [scene(masks, dict(zip(factors, map(int, row), strict=True)), rng, **size) for row in levels]
