"""Slices of items by the values of cues: how much worse each fares than others of its classes. For `slices`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.chance import wilson
from tellapart.core.cues import Cue, agreement
from tellapart.core.report import Figure


@dataclass(frozen=True)
class Slice:
    """Items of one value of a column, or of two values of two columns: how much worse they fare than others do."""

    name: str
    inside: np.ndarray
    value: float
    low: float
    high: float
    p: float
    parts: np.ndarray


def sliced(
    cues: Sequence[Cue], right: np.ndarray, strata: np.ndarray, least: int, *, intersections: bool
) -> tuple[list[Slice], list[Slice]]:
    """All slices of one value and all of two, those of most items first."""
    single = [(f"{c.name}={value}", c.codes == v, c.codes >= 0) for c in cues for v, value in enumerate(c.values)]
    double = []
    for i, (name, inside, known) in enumerate(single if intersections else []):
        for other, within, told in single[i + 1 :]:
            both = inside & within
            # Two values of one column have no item in common; one that contains the other is no new slice.
            if both.sum() < min((inside & told).sum(), (within & known).sum()):
                double.append((f"{name} & {other}", both, known & told))
    found = []
    for kind in (single, double):
        made = [_measured(n, i, kn, right, strata) for n, i, kn in kind if min(i.sum(), (kn & ~i).sum()) >= least]
        found.append(sorted((s for s in made if s is not None), key=lambda s: (-s.inside.sum(), s.name)))
    return found[0], found[1]


def _measured(name: str, inside: np.ndarray, known: np.ndarray, right: np.ndarray, strata: np.ndarray) -> Slice | None:
    gap = agreement(right[known], ~inside[known], strata[known])
    if gap is None:
        return None
    parts = np.zeros(len(right))
    parts[known] = gap.parts * len(right) / known.sum()
    p = _chance(right[known], inside[known], strata[known])
    return Slice(name, inside, gap.value, gap.low, gap.high, p, parts)


def _chance(right: np.ndarray, inside: np.ndarray, strata: np.ndarray) -> float:
    """P(as few right inside) where the right ones of each stratum are dealt at random: hypergeometric, added up."""
    size = int(strata.max()) + 1
    whole, hits = np.bincount(strata, minlength=size), np.bincount(strata, right, minlength=size).astype(int)
    within = np.bincount(strata, inside, minlength=size).astype(int)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(right) + 1)))])
    sure, chance = 0, np.ones(1)
    for n, r, m in zip(whole, hits, within, strict=True):
        low, high = max(0, m + r - n), min(m, r)
        if high > low:
            x = np.arange(low, high + 1)
            log = sum(logs[a] - logs[b] - logs[a - b] for a, b in ((r, x), (n - r, m - x))) - logs[n]
            chance = np.convolve(chance, np.exp(log + logs[m] + logs[n - m]))
        sure += low
    seen = int(right[inside].sum()) - sure
    return min(1.0, float(chance[: seen + 1].sum()))


def disparities(cues: Sequence[Cue], right: np.ndarray, truth: Sequence[str], least: int) -> list[list[Any]]:
    """Of every class and column the two values furthest apart, the widest first."""
    found = []
    names, y = np.unique(truth, return_inverse=True)
    for cue in cues:
        cell = (y * (len(cue.values) + 1) + cue.codes)[cue.codes >= 0]
        size = (len(names) + 1) * (len(cue.values) + 1)
        count = np.bincount(cell, minlength=size)
        hits = np.bincount(cell, right[cue.codes >= 0], minlength=size)
        for c, name in enumerate(names):
            cells = c * (len(cue.values) + 1) + np.arange(len(cue.values))
            able = cells[count[cells] >= least]
            if len(able) < 2:
                continue
            share = hits[able] / count[able]
            a, b = able[share.argmax()], able[share.argmin()]
            (low_a, high_a), (low_b, high_b) = (wilson(hits[i] / count[i], int(count[i])) for i in (a, b))
            p, q = float(share.max()), float(share.min())
            ends = p - q - math.hypot(p - low_a, high_b - q), p - q + math.hypot(high_a - p, q - low_b)
            both = [f"{cue.values[i - cells[0]]} ({count[i]})" for i in (b, a)]
            found.append([str(name), cue.name, *both, Figure("disparity", p - q, *ends, int(count[a] + count[b]))])
    return sorted(found, key=lambda row: -row[-1].value)
