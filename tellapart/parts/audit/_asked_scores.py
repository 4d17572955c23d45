"""What answers about items amount to: means, skills beside the other questions of the same items, ratings of people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.leaderboard import kendall
from tellapart.core.report import Figure, Finding, Table

FEWEST = 30


def mean_of(name: str, values: np.ndarray, groups: np.ndarray, seed: int, least: float = 0.0) -> Figure:
    """A mean with its interval over groups, which ends at `least` and at 1."""
    ends = redraw.interval(redraw.mean(values), groups, seed=seed, ends=(least, 1.0))
    note = "" if ends[0] is not None else "too few for an interval"
    return Figure(name, float(values.mean()), *ends, count=len(values), note=note)


def skill_of(skill: str, inside: np.ndarray, soft: np.ndarray, place: np.ndarray, seed: int) -> Finding | None:
    """How much worse a skill's questions come out than the other questions of the same captions; signs are dealt."""
    both = np.intersect1d(place[inside], place[~inside])
    if len(both) < FEWEST:
        return None
    means = [np.bincount(place[m], soft[m], len(place))[both] / np.bincount(place[m], minlength=len(place))[both]
             for m in (~inside, inside)]  # fmt: skip
    d = means[0] - means[1]
    ends = redraw.interval(redraw.mean(d), np.arange(len(d)), seed=seed, ends=(-1.0, 1.0))
    figure = Figure(f"skill {skill}", float(d.mean()), *ends, count=len(d), note="" if ends[0] is not None else "few")
    said = f"what captions say of {skill} scores {d.mean():.2f} lower than what else the same captions say"
    return Finding(figure, said, mean_above(d, np.arange(len(d)), seed=seed))


def ratings_of(
    vectors: Mapping[str, Any], collection: Collection, rows: np.ndarray, rated: str, score: np.ndarray,
    match: np.ndarray, seed: int,
) -> Table:  # fmt: skip
    """Kendall's tau-b of every score with what people said."""
    truth = np.asarray(collection.take(rows).values(rated), float)
    if not np.isfinite(truth).all():
        raise DataError(f"{rated} is not a number everywhere")
    kinds = {"score": score, "hard match": match}
    if "image" in vectors and "text" in vectors:
        a, b = (unit_rows(np.asarray(vectors[n], float)[rows]) for n in ("image", "text"))
        kinds["cosine"] = np.einsum("nd,nd->n", a, b)
    table = []
    for name, values in kinds.items():
        rng = np.random.default_rng(seed)
        drawn = [kendall(values[r], truth[r]) for r in rng.integers(0, len(rows), (100, len(rows)))]
        low, high = np.quantile(drawn, [0.025, 0.975])
        table.append([name, Figure(f"agreement, {name}", kendall(values, truth), float(low), float(high), len(rows))])
    return Table(f"Agreement with {rated}", ["score", "Kendall's tau-b"], table)
