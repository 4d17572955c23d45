"""Things cut out of their pictures, and put before other grounds, elsewhere, larger and smaller."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from tellapart.parts.audit._corrupted import LARGEST, TILE

_APART, _UNEVEN, _LEAST, _MOST, _OPAQUE = 30, 25, 0.01, 0.8, 250


@dataclass(frozen=True)
class Cutout:
    """What is on a picture, and the picture without it.

    Attributes:
        picture: RGB, at most 256 pixels a side; mask: L, 255 where the thing is; ground: RGB, what is behind it filled.
        box: of the thing: left, top, right, bottom.
    """

    picture: Image.Image
    mask: Image.Image
    ground: Image.Image
    box: tuple[int, int, int, int]

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box, in shares of the picture."""
        left, top, right, bottom = self.box
        return (left + right) / 2 / self.picture.width, (top + bottom) / 2 / self.picture.height

    @property
    def room(self) -> float:
        """How many times larger it can be without being cut off."""
        left, top, right, bottom = self.box
        return min(self.picture.width / (right - left), self.picture.height / (bottom - top))


def cut_out(pictures: Sequence[Any], row: int) -> Cutout | None:
    """A picture's thing: what is opaque, or else what differs from a rim of one colour; None where neither says.

    What fills less than 1% or more than 80% of a picture is none.
    """
    given, opacity = pictures[row], getattr(pictures, "opacity", None)
    veil = opacity(row) if opacity is not None else given.getchannel("A") if given.mode == "RGBA" else None
    if given.mode == "RGBA":
        given = Image.alpha_composite(Image.new("RGBA", given.size, "white"), given)
    image = given.convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    x = np.asarray(image, np.float32)
    on = np.full(x.shape[:2], 255.0)
    if veil is not None:
        on = np.asarray(veil.resize(image.size, Image.Resampling.BOX), float)
    if on.min() > _OPAQUE:
        rim = np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
        if rim.std(axis=0).max() > _UNEVEN:
            return None
        on = 255.0 - 255.0 * _outside(np.abs(x - np.median(rim, axis=0)).max(axis=2) <= _APART)
    # One pixel of the edge goes, since what is there has the colour of its ground too.
    mask = Image.fromarray(on.astype(np.uint8)).filter(ImageFilter.MinFilter(3))
    box = mask.point([0] * 128 + [255] * 128).getbbox()
    if box is None or not _LEAST <= float((on > 127).mean()) <= _MOST:
        return None
    behind = _filled(x, np.asarray(Image.fromarray(on.astype(np.uint8)).filter(ImageFilter.MaxFilter(5))) > 0)
    return Cutout(Image.fromarray(x.astype(np.uint8)), mask, Image.fromarray(behind), box)


def composed(cut: Cutout, ground: Image.Image, size: float, centre: tuple[float, float]) -> Image.Image:
    """The thing before a ground of the picture's size, so many times as large, about a place, wholly inside."""
    scene = ground.resize(cut.picture.size, Image.Resampling.BILINEAR) if ground.size != cut.picture.size else ground
    left, top, right, bottom = cut.box
    size = min(size, cut.room)
    wide, high = max(1, round(size * (right - left))), max(1, round(size * (bottom - top)))
    thing, veil = (p.crop(cut.box).resize((wide, high), Image.Resampling.BILINEAR) for p in (cut.picture, cut.mask))
    corner = [
        min(max(0, round(c * n - v / 2)), n - v) for c, n, v in zip(centre, scene.size, (wide, high), strict=True)
    ]
    made = scene.copy()
    made.paste(thing, (corner[0], corner[1]), veil)
    return made


def apart(cut: Cutout, first: Image.Image, second: Image.Image) -> float:
    """How different two grounds are where the thing is not: mean over pixels and colours, 0 to 255."""
    a, b = (np.asarray(g.resize(cut.picture.size, Image.Resampling.BILINEAR), np.float32) for g in (first, second))
    free = np.asarray(cut.mask) < 128
    return float(np.abs(a - b)[free].mean())


def sheet(rows: Sequence[Sequence[Image.Image]]) -> str:
    """An SVG of pictures side by side, a row for each."""
    wide = TILE * max(len(row) for row in rows)
    whole = Image.new("RGB", (wide, TILE * len(rows)), "white")
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            small = picture.copy()
            small.thumbnail((TILE - 2, TILE - 2))
            whole.paste(small, (across * TILE, down * TILE))
    held = io.BytesIO()
    whole.save(held, "JPEG", quality=80)
    source = "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
    size = f'width="{wide}" height="{TILE * len(rows)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><image href="{source}" {size}/></svg>'


def _outside(like: np.ndarray) -> np.ndarray:
    """[h, w] bool: what is like the rim and joined to it, so that a hole in a thing belongs to the thing."""
    out = np.zeros_like(like)
    for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        out[side] = like[side]
    before = -1
    while (count := int(out.sum())) != before:
        before = count
        out[1:] |= out[:-1]
        out[:-1] |= out[1:]
        out[:, 1:] |= out[:, :-1]
        out[:, :-1] |= out[:, 1:]
        out &= like
    return out


def _filled(x: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The picture with a part of it filled from what is around, coarser the farther in (push and pull)."""
    value, weight = x * ~gone[..., None], (~gone).astype(np.float32)
    levels = [(value, weight)]
    while max(levels[-1][1].shape) > 1:
        value, weight = (_halved(v) for v in levels[-1])
        levels.append((value, weight))
    below = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for value, weight in reversed(levels[:-1]):
        twice = below.repeat(2, axis=0).repeat(2, axis=1)[: weight.shape[0], : weight.shape[1]]
        share = np.minimum(weight, 1.0)[..., None]
        below = share * value / np.maximum(weight, 1e-6)[..., None] + (1 - share) * twice
    return np.clip(np.rint(below), 0, 255).astype(np.uint8)


def _halved(v: np.ndarray) -> np.ndarray:
    """Sums over two by two."""
    odd = [(0, n % 2) for n in v.shape[:2]] + [(0, 0)] * (v.ndim - 2)
    even = np.pad(v, odd)
    return np.asarray(even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2])
