"""Scenes put together of somebody's own pictures, before and after one known edit, with all else jittered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SIDE, GRID, SLOTS = 64, 16, 3
KINDS = ("nothing", "added", "removed", "moved", "recoloured", "replaced", "look-alike")
EVENTS = ("nothing", "appears", "goes", "recoloured", "replaced", "look-alike")
_CUT, _UNEVEN, _ITEM, _GAIN = 30, 25, 32, 0.02


@dataclass(frozen=True)
class Pairs:
    """n pairs of scenes.

    Attributes:
        before, after: [n, 64, 64, 3] uint8; kind: [n] places in `KINDS`.
        event: [n, 16, 16] places in `EVENTS`, what happens in each cell of 4 x 4 pixels.
    """

    before: np.ndarray
    after: np.ndarray
    kind: np.ndarray
    event: np.ndarray


@dataclass(frozen=True)
class Stock:
    """What scenes are made of: [n] pictures cut out of their even ground, whole ones, and each one's nearest other."""

    cut: list[Image.Image]
    whole: list[Image.Image]
    nearest: np.ndarray


def stock(pictures: Sequence[Any]) -> Stock:
    """Pictures made ready, at least two of them."""
    whole = [p.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR) for p in pictures]
    small = np.array([np.asarray(p.resize((8, 8), Image.Resampling.BOX), float).ravel() for p in whole])
    square = (small**2).sum(axis=1)
    far = square[:, None] + square - 2 * small @ small.T
    np.fill_diagonal(far, np.inf)
    return Stock([_cut_out(p) for p in whole], whole, far.argmin(axis=1))


def _cut_out(whole: Image.Image) -> Image.Image:
    x = np.asarray(whole, float)
    rim = np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
    shown = np.abs(x - np.median(rim, axis=0)).max(axis=2) > _CUT
    if rim.std(axis=0).max() > _UNEVEN or shown.sum() < 16:
        shown = np.ones_like(shown)
    rows, columns = (np.flatnonzero(shown.any(axis=a)) for a in (1, 0))
    held = Image.fromarray(np.dstack([x, 255.0 * shown]).astype(np.uint8), "RGBA")
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return held.crop(box).resize((_ITEM, _ITEM), Image.Resampling.BILINEAR)


def edited(held: Stock, count: int, jitter: int, rng: np.random.Generator, *, plain: bool) -> Pairs:
    """So many pairs, of each kind of edit as many.

    Each scene has 4 to 6 things on a ground of one colour, or 2 or 3 on one of the pictures. In the second picture each
    thing and the ground are moved by up to `jitter` of 64 pixels, and all is up to 2% * jitter brighter or darker.
    """
    kind = rng.permutation(np.arange(count) % len(KINDS))
    made = [_pair(held, KINDS[k], jitter, rng, plain) for k in kind]
    before, after, event = (np.array([m[i] for m in made]) for i in range(3))
    return Pairs(before, after, kind, event)


def copied(held: Stock, jitter: int, rng: np.random.Generator) -> np.ndarray:
    """[n, 64, 64, 3]: each whole picture moved, and brighter or darker, as all is in a second picture."""
    return np.array([_drawn(whole, [], jitter, rng) for whole in held.whole])


def _pair(held: Stock, kind: str, jitter: int, rng: np.random.Generator, plain: bool) -> tuple[Any, Any, Any]:
    many = int(rng.integers(4, 7) if plain else rng.integers(2, 4))
    slots, n = rng.permutation(SLOTS**2), len(held.cut)
    step = SIDE / SLOTS
    thing = rng.permutation(n)[:many] if n >= many else rng.integers(0, n, many)
    size = rng.integers(13, 20, many + 1)
    at = [(int((s % SLOTS) * step + rng.integers(0, int(step - z) + 1)),
           int((s // SLOTS) * step + rng.integers(0, int(step - z) + 1)))
          for s, z in zip(slots[: many + 1], [*size[:many], size[0]], strict=True)]  # fmt: skip
    first = [(held.cut[t], xy, int(z)) for t, xy, z in zip(thing, at, size, strict=False)]
    old: list[Any] = list(first)
    new: list[Any] = list(first)
    here, there, z = at[0], at[-1], int(size[0])
    event = np.zeros((GRID, GRID), np.int64)
    if kind in ("added", "removed"):
        (old if kind == "added" else new)[0] = None
        _mark(event, here, z, "appears" if kind == "added" else "goes")
    elif kind == "moved":
        new[0] = (first[0][0], there, z)
        _mark(event, here, z, "goes")
        _mark(event, there, z, "appears")
    elif kind != "nothing":
        other = int(held.nearest[thing[0]])
        if kind == "replaced":
            other = int((thing[0] + rng.integers(1, n)) % n)
        shown = _coloured(first[0][0], rng) if kind == "recoloured" else held.cut[other]
        new[0] = (shown, here, z)
        _mark(event, here, z, kind)
    ground: Any = tuple(int(v) for v in rng.integers(120, 256, 3))
    if not plain:
        ground = held.whole[int(rng.integers(n))]
    before = _drawn(ground, old, 0, rng)
    return before, _drawn(ground, new, jitter, rng), event


def _mark(event: np.ndarray, at: tuple[int, int], size: int, what: str) -> None:
    """A cell counts from half a cell on."""
    each = SIDE // GRID
    (x0, y0), half = at, each // 2
    cells = [slice((v + half) // each, max((v + size + half) // each, (v + half) // each + 1)) for v in (y0, x0)]
    event[cells[0], cells[1]] = EVENTS.index(what)


def _coloured(item: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Its lightness in another colour: of the six full ones that which is farther from its own of two."""
    x = np.asarray(item, float)
    light = x[..., :3].mean(axis=2, keepdims=True)
    tints = np.array([[1, 0.2, 0.2], [0.2, 0.9, 0.2], [0.3, 0.4, 1], [1, 0.9, 0.1], [1, 0.2, 1], [0.1, 0.9, 0.9]])
    two = [np.maximum(light, 60) * tints[i] for i in rng.permutation(len(tints))[:2]]
    far = [np.abs((t - x[..., :3]) * (x[..., 3:] > 0)).sum() for t in two]
    return Image.fromarray(np.dstack([two[int(np.argmax(far))].clip(0, 255), x[..., 3]]).astype(np.uint8), "RGBA")


def _drawn(ground: Any, things: list[Any], jitter: int, rng: np.random.Generator) -> np.ndarray:
    """[64, 64, 3] uint8."""
    if isinstance(ground, tuple):
        scene = Image.new("RGB", (SIDE, SIDE), ground)
    else:
        dx, dy = (int(v) for v in rng.integers(-jitter, jitter + 1, 2))
        scene = ground.copy()
        scene.paste(ground, (dx, dy))
    for item, (x, y), size in (t for t in things if t is not None):
        dx, dy = (int(v) for v in rng.integers(-jitter, jitter + 1, 2))
        small = item.resize((size, size), Image.Resampling.BILINEAR)
        scene.paste(small, (x + dx, y + dy), small)
    gain = 1 + _GAIN * jitter * rng.uniform(-1, 1)
    return (np.asarray(scene, float) * gain).clip(0, 255).astype(np.uint8)
