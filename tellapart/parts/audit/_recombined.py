"""The pictures that `recombination` makes of each thing, and which of them can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from tellapart.core import redraw
from tellapart.core.report import Figure, Table
from tellapart.parts.audit._cutouts import Cutout, apart, composed, cut_out

ARMS = {"another ground": "same ground", "off the centre": "in the centre", "smaller": "as it is", "larger": "as it is"}
CELLS = {
    "top left": (0.0, 0.0), "top": (0.5, 0.0), "top right": (1.0, 0.0), "left": (0.0, 0.5), "right": (1.0, 0.5),
    "bottom left": (0.0, 1.0), "bottom": (0.5, 1.0), "bottom right": (1.0, 1.0),
}  # fmt: skip
_FAR, _HALF, _TWICE, _ROOM = 10.0, 0.5, 2.0, 1.25


class Drawn(Sequence[Image.Image]):
    """Pictures that are made when they are asked for, so that memory holds those of one kind."""

    def __init__(self, makers: Sequence[Callable[[], Image.Image]]) -> None:
        self.makers = makers

    def __len__(self) -> int:
        return len(self.makers)

    def __getitem__(self, at: Any) -> Any:
        return self.makers[at]()


@dataclass(frozen=True)
class Scenes:
    """m things and what was made of them.

    Attributes:
        looked: how many pictures were opened; place: [m] which of the drawn items; at: [m] their rows.
        made: by name, [m] pictures; "same ground" is there where there are classes.
        asked: by name of an arm, which of the m can be asked about; why: what to say where they are too few.
        cell: [m] numbers of `CELLS`.
    """

    looked: int
    place: np.ndarray
    at: np.ndarray
    made: dict[str, Drawn]
    asked: dict[str, np.ndarray]
    why: dict[str, str]
    cell: np.ndarray


def scenes_of(
    pictures: Sequence[Any], drawn: np.ndarray, classes: np.ndarray | None, grounds: str, most: int, seed: int
) -> Scenes:
    """Things of up to `most` of the drawn rows, each before another ground, moved and resized."""
    rng = np.random.default_rng(seed)
    found: list[tuple[int, Cutout]] = []
    looked = 0
    for i in rng.permutation(len(drawn)):
        if len(found) == most:
            break
        looked += 1
        if (cut := cut_out(pictures, int(drawn[i]))) is not None:
            found.append((int(i), cut))
    found.sort(key=lambda pair: pair[0])
    place, cuts = np.array([i for i, _ in found], int), [cut for _, cut in found]
    kind = None if classes is None or grounds == "colours" else classes[place]
    cell = rng.permutation(len(cuts)) % len(CELLS)
    other, same, far = [], [], []
    for i, cut in enumerate(cuts):
        ground = _even(rng) if grounds == "colours" else _one(cuts, i, kind, False, rng)
        beside = cut.ground if kind is None else _one(cuts, i, kind, True, rng)
        far.append(ground is not None and beside is not None and apart(cut, ground, beside) > _FAR)
        other.append(ground or cut.ground)
        same.append(beside or cut.ground)
    made = {"as it is": Drawn([partial(cut.picture.copy) for cut in cuts])}
    if kind is not None:
        made["same ground"] = _made(cuts, same, 1.0)
    made["another ground"] = _made(cuts, other, 1.0)
    own, places = [cut.ground for cut in cuts], [list(CELLS.values())[p] for p in cell]
    size = [_HALF * min(cut.picture.size) / max(cut.box[2] - cut.box[0], cut.box[3] - cut.box[1]) for cut in cuts]
    made["in the centre"] = _made(cuts, own, size, [(0.5, 0.5)] * len(cuts))
    made["off the centre"] = _made(cuts, own, size, places)
    made["smaller"], made["larger"] = _made(cuts, own, _HALF), _made(cuts, own, _TWICE)
    every = np.arange(len(cuts))
    asked = {name: every for name in ARMS} | {
        "another ground": np.flatnonzero(far), "larger": np.flatnonzero([c.room >= _ROOM for c in cuts]),
    }  # fmt: skip
    why = {
        "another ground": f"the grounds of {sum(far)} of {len(cuts)} things differ; "
        "recombination(grounds='colours') asks about even ones",
        "larger": f"{len(asked['larger'])} of {len(cuts)} things have room to be larger",
    }
    return Scenes(looked, place, drawn[place], made, asked, why, cell)


def _made(
    cuts: Sequence[Cutout], grounds: Sequence[Image.Image], size: float | Sequence[float],
    places: Sequence[tuple[float, float]] = (),
) -> Drawn:  # fmt: skip
    sizes = [size] * len(cuts) if isinstance(size, float) else size
    every = zip(cuts, grounds, sizes, places or [cut.centre for cut in cuts], strict=True)
    return Drawn([partial(composed, *each) for each in every])


def _one(
    cuts: list[Cutout], i: int, kind: np.ndarray | None, same: bool, rng: np.random.Generator
) -> Image.Image | None:
    """The ground of another picture, of the same class or of another where there are classes."""
    fit = np.ones(len(cuts), bool) if kind is None else (kind == kind[i]) == same
    fit[i] = False
    return cuts[int(rng.choice(np.flatnonzero(fit)))].ground if fit.any() else None


def _even(rng: np.random.Generator) -> Image.Image:
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    return Image.new("RGB", (8, 8), (colour[0], colour[1], colour[2]))


def share(name: str, right: np.ndarray) -> Figure:
    """A share and its interval."""
    ends = redraw.interval(redraw.mean(right), np.arange(len(right)), seed=0, draws=200)
    return Figure(name, float(right.mean()), *ends, count=len(right))


def ratio(name: str, below: np.ndarray, above: np.ndarray, seed: int) -> list[Figure]:
    """How much of one accuracy another is; nothing where it is of none."""

    def value(times: np.ndarray) -> float:
        return float(times @ above / (times @ below)) if times @ below else float("nan")

    if not below.any():
        return []
    ends = redraw.interval(value, np.arange(len(below)), seed=seed, draws=200, ends=(0.0, np.inf))
    return [
        Figure(name, value(np.ones(len(below))), *ends, len(below), note="accuracy so over accuracy beside; 1: none")
    ]


def by_place(held: Scenes, right: dict[str, np.ndarray], seed: int) -> list[Figure | Table]:
    """The published centre bias, and what is right at each place."""
    middle, off = right["in the centre"], right["off the centre"]
    ends = [np.array([sum(p == 0.5 for p in place) == n for place in CELLS.values()]) for n in (1, 0)]

    def bias(times: np.ndarray) -> float:
        count = np.bincount(held.cell, times, len(CELLS))
        if not times @ middle or not count.all():
            return float("nan")
        shares = np.bincount(held.cell, times * off, len(CELLS)) / count
        return float(1 - (shares[ends[0]].min() + shares[ends[1]].min()) / (2 * (times @ middle) / times.sum()))

    value = bias(np.ones(len(middle)))
    rows: list[list[object]] = [["centre", len(middle), float(middle.mean())]]
    for number, name in enumerate(CELLS):
        mine = off[held.cell == number]
        rows.append([name, len(mine), float(mine.mean()) if len(mine) else None])
    table = Table(
        "Right by place", ["place", "pictures", "right"], rows, "things of half the frame, on their own ground"
    )
    if not np.isfinite(value):
        return [table]
    low, high = redraw.interval(bias, np.arange(len(middle)), seed=seed, draws=200, ends=(-np.inf, 1.0))
    note = "as published: the least side and corner over the centre; above 0 by chance alone"
    return [Figure("centre bias", value, low, high, len(middle), note=note), table]
