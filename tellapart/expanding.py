"""Expanding a few items into more of their kind by the vectors of both sides: what `tellapart select` does with a score
that reads vectors (`seed-expansion`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.core.parts import make
from tellapart.core.progress import Stages
from tellapart.core.report import Example, Examples, Figure, Report, Text
from tellapart.data.writing import with_result, write_items
from tellapart.recipe import usual_encoder
from tellapart.runs import embedded

SIDES = ("image", "text", "series", "anchor", "positive")
SAME = 1 - 1e-5
SHOWN, WORDS = 12, 80


def expand(
    pool: Collection,
    seeds: Collection,
    keep: int,
    *,
    score: str,
    columns: list[str],
    out: Path | None,
    stages: Stages,
) -> Report:
    """Pick the items of a pool that a score puts first, seen from a few seeds.

    Args:
        pool, seeds: with these columns.
        keep: how many.
        score: spec of a score part of the traits `target` and `layers`.
        columns: the sides that are compared.

    Raises:
        DataError: fewer items than are to be kept, once those that are seeds themselves are left out.
    """
    of = {column: make("encode", usual_encoder(column)) for column in columns}
    x, wanted = (
        [np.asarray(embedded(each, column, of[column], stages=stages)) for column in columns] for each in (pool, seeds)
    )
    again = _again(x, wanted)
    rows = np.flatnonzero(~again)
    if keep > len(rows):
        raise DataError(f"cannot keep {keep} items: the pool has {len(rows)} that are not seeds themselves")
    x = [block[rows] for block in x]
    with stages.stage("score"):
        marks = np.repeat([True, False], [len(seeds), len(rows)])
        part = make("score", score).fit([np.concatenate(both) for both in zip(wanted, x, strict=True)], marks)
        values = part.score(x)
    order = np.argsort(-values, kind="stable")
    report = Report(f"{keep} of {len(rows)} items like {len(seeds)} seeds, by {' and '.join(columns)}")
    report.add(Figure("kept", keep / len(rows), count=len(rows)))
    if again.any():
        report.add(Text(f"{int(again.sum())} items of the pool are seeds themselves and were left out."))
    report.add(_shown("Most like the seeds", pool, rows, order[:keep][:SHOWN], values))
    if keep > SHOWN:
        report.add(_shown("The last that were kept", pool, rows, order[:keep][SHOWN:][-SHOWN:], values))
    report.facts = {"pool": len(rows), "seeds": len(seeds), "score": score, "compared": columns}
    if out is not None:
        chosen = np.sort(order[:keep])
        kept = with_result(pool.take(rows[chosen]), "score", values[chosen])
        report.facts["written"] = str(write_items(kept, out))
    return report


def compared(pool: Collection, seeds: Collection, column: str, names: tuple[str, str]) -> list[str]:
    """The columns that both have and that have vectors; one, if it is named.

    Raises:
        DataError: none, or not the one that is named.
    """
    both = [name for name in SIDES if name in pool.columns and name in seeds.columns]
    if column:
        for held, of in zip((pool, seeds), names, strict=True):
            if column not in held.columns or column not in SIDES:
                there = [name for name in SIDES if name in held.columns]
                raise DataError(f"{of} has no column {column!r} that can be compared; {near(column, there)}")
        return [column]
    if not both:
        raise DataError(f"{names[0]} and {names[1]} have no column of pictures or texts in common")
    return both


def _again(x: list[np.ndarray], wanted: list[np.ndarray]) -> np.ndarray:
    """[n] whether an item of the pool is, on all sides, one of the seeds."""
    from tellapart.core.features import unit_rows

    same: Any = True
    for block, seeds in zip(x, wanted, strict=True):
        same = same & (unit_rows(block) @ unit_rows(seeds).T >= SAME)
    return np.asarray(same).any(axis=1)


def _shown(title: str, pool: Collection, rows: np.ndarray, numbers: np.ndarray, values: np.ndarray) -> Examples:
    said = next((name for name in ("text", "anchor") if name in pool.columns), "id")
    items = []
    for number in numbers.tolist():
        held = pool.item(str(pool.ids[rows[number]]))
        items.append(Example([str(held["id"])], str(held[said])[:WORDS], [float(values[number])]))
    return Examples(title, items)
