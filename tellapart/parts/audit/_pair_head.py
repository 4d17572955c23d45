"""What changed between two pictures and where, told from both and their difference at several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.linear import ridge_map
from tellapart.parts.audit._edits import EVENTS, GRID, KINDS, SIDE, Pairs

Terms = Literal["both-and-difference", "both"]
SCALES = (16, 8, 4)
_CELL_UNITS, _PAIR_UNITS, _OTHERS, _BLOCK, _TOP = 256, 128, 3, 64, 4


def maps(pictures: np.ndarray, scales: Sequence[int] = SCALES) -> list[np.ndarray]:
    """For each scale s, [n, s, s, 7] means over equal squares of [n, 64, 64, 3] uint8.

    Lightness, two opponent colours, and the steepness in four directions.
    """
    x = pictures.astype(np.float32) / 255
    light = x.mean(axis=3)
    down, across = np.gradient(light, axis=(1, 2))
    turns = [np.abs(across * np.cos(a) + down * np.sin(a)) for a in np.pi * np.arange(4) / 4]
    colours = [light, x[..., 0] - x[..., 1], (x[..., 0] + x[..., 1]) / 2 - x[..., 2]]
    full = np.stack([*colours, *turns], axis=3)
    return [full.reshape(len(x), s, SIDE // s, s, SIDE // s, 7).mean(axis=(2, 4)) for s in scales]


def cells(before: np.ndarray, after: np.ndarray, scales: Sequence[int], terms: Terms) -> np.ndarray:
    """[n, 256, d]: what each cell of 16 x 16 lies in at every scale: F1, F2 and F2 - F1."""
    held = []
    for one, other in zip(maps(before, scales), maps(after, scales), strict=True):
        parts = [one, other] if terms == "both" else [one, other, other - one]
        each = GRID // one.shape[1]
        held.append(np.concatenate(parts, axis=3).repeat(each, axis=1).repeat(each, axis=2))
    return np.concatenate(held, axis=3).reshape(len(before), GRID**2, -1)


class PairHead:
    """Two ridge regressions, each above a fixed random layer of rectified sums: of cells, and of pairs.

    The first says of each cell what happens there (`EVENTS`); it is fitted on half of the pairs. The second is told the
    largest value of each event in a pair, the mean of its four largest and of all; it is fitted on the others.
    """

    def __init__(
        self, *, scales: Sequence[int] = SCALES, terms: Terms = "both-and-difference", ridge: float = 0.1, seed: int = 0
    ) -> None:
        self.scales, self.terms, self.ridge, self.seed = tuple(scales), terms, ridge, seed

    def fit(self, pairs: Pairs) -> PairHead:
        """Fit both."""
        rng = np.random.default_rng([self.seed, 7])
        first = np.arange(len(pairs.kind)) % 2 == 0
        z = cells(pairs.before[first], pairs.after[first], self.scales, self.terms)
        event = pairs.event[first].reshape(-1)
        z = z.reshape(len(event), -1)
        still = np.flatnonzero(event == 0)
        drawn = rng.choice(still, min(len(still), _OTHERS * max(1, int((event > 0).sum()))), replace=False)
        rows = np.concatenate([np.flatnonzero(event), drawn])
        self._cell = _layered(z[rows], np.eye(len(EVENTS))[event[rows]], _CELL_UNITS, self.ridge, rng)
        told = _summed(self._events(pairs.before[~first], pairs.after[~first]))
        self._pair = _layered(told, np.eye(len(KINDS))[pairs.kind[~first]], _PAIR_UNITS, self.ridge, rng)
        return self

    def tell(self, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """([n, kinds] scores of each kind of edit, [n, 16, 16] how much each cell has changed)."""
        event = self._events(before, after)
        return self._pair(_summed(event)), (1 - event[..., 0]).reshape(-1, GRID, GRID)

    def _events(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        held = []
        for start in range(0, len(before), _BLOCK):
            some = slice(start, start + _BLOCK)
            z = cells(before[some], after[some], self.scales, self.terms)
            held.append(self._cell(z.reshape(-1, z.shape[2])).reshape(*z.shape[:2], -1))
        return np.concatenate(held)


def _summed(event: np.ndarray) -> np.ndarray:
    """[n, 18] of [n, cells, events]."""
    x = np.concatenate([1 - event[..., :1], event[..., 1:]], axis=2)
    top = np.sort(x, axis=1)[:, -_TOP:]
    return np.concatenate([top[:, -1], top.mean(axis=1), x.mean(axis=1)], axis=1)


def _layered(
    x: np.ndarray, y: np.ndarray, units: int, ridge: float, rng: np.random.Generator
) -> Callable[[np.ndarray], Any]:
    middle, spread = x.mean(axis=0).astype(np.float32), (x.std(axis=0) + 1e-6).astype(np.float32)
    weight = (rng.normal(size=(x.shape[1], units)) / np.sqrt(x.shape[1])).astype(np.float32)
    bias = rng.normal(scale=0.5, size=units).astype(np.float32)

    def layer(rows: np.ndarray) -> np.ndarray:
        z = (rows.astype(np.float32) - middle) / spread
        return np.concatenate([z, np.maximum(z @ weight + bias, 0)], axis=1)

    head = ridge_map(layer(x), y.astype(np.float32), ridge)
    return lambda rows: head(layer(rows))


def pointed(changed: np.ndarray, event: np.ndarray) -> np.ndarray:
    """[n] whether the cell that has changed most is one in which something happens."""
    best = changed.reshape(len(changed), -1).argmax(axis=1)
    found: np.ndarray = event.reshape(len(event), -1)[np.arange(len(event)), best] > 0
    return found


def two_of_each(collection: Collection, column: str) -> tuple[np.ndarray, int]:
    """([p, 2] rows of items that share a value with one other, in order; how many items have a value and no pair)."""
    if column not in collection.columns:
        return np.empty((0, 2), np.int64), 0
    codes, values = collection.codes(column)
    rows = np.flatnonzero((codes >= 0) & ~np.isin(codes, [i for i, v in enumerate(values) if v == ""]))
    rows = rows[np.argsort(codes[rows], kind="stable")]
    count = np.bincount(codes[rows]) if len(rows) else np.zeros(0, int)
    kept = rows[count[codes[rows]] == 2] if len(rows) else rows
    return kept.reshape(-1, 2), len(rows) - len(kept)


def surely_edited(told: np.ndarray) -> np.ndarray:
    """How much likelier some edit is than none."""
    found: np.ndarray = told[:, 1:].max(axis=1) - told[:, 0]
    return found
