"""What every way of `tellapart detect` shares: by vectors (`apply`), by names (`naming`), by places (`locating`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.data.writing import write_items

SHOWN = 12


def incoming(source: str | Path, column: str, run: str | Path, stages: Stages) -> Collection:
    """The new collection; without the column that the run searches it raises `DataError`."""
    from tellapart.data.sources import read

    with stages.stage("read") as told:
        new = read(source, progress=told)
    if column not in new.columns:
        raise DataError(f"the run searches {column!r}, and {source} has {', '.join(new.columns)}")
    return new


def unknown_share(unknown: np.ndarray) -> Figure:
    """How many of the new items are unknown."""
    return Figure("unknown share", float(unknown.mean()), count=len(unknown), note="of the new collection")


def false_alarms(stopped: np.ndarray, groups: np.ndarray) -> Figure:
    """The share of held-out known items that is stopped, with an interval over their duplicate groups.

    Args:
        stopped: [n] bool. groups: [n].
    """
    from tellapart.engine import intervals

    values = stopped.astype(float)
    ends = intervals.known(*intervals.bootstrap(values, clusters=groups, within=intervals.SHARE))
    return Figure("false alarms on held-out items", float(values.mean()), *ends, len(values))


def of_threshold(threshold: float, asked: float, validation: int) -> list[Figure | Text]:
    """The threshold that stops the share `asked` of so many validation items, and whether these are too few for it."""
    told = Figure("threshold", threshold, note=f"stops {asked:.1%} of {validation} validation items")
    few = Text(f"{validation} validation items are too few for a rate of {asked:.1%}.", "warning")
    return [told, few] if validation * asked < 1 else [told]


def least_known(found: np.ndarray) -> np.ndarray:
    """The rows that are shown, the most unknown first."""
    return np.argsort(-found, kind="stable")[:SHOWN]


def listed(
    new: Collection, found: np.ndarray, unknown: np.ndarray, *more: tuple[str, Sequence[str]], note: str = ""
) -> Table:
    """The least known items.

    Args:
        more: further columns, each with what it says of every item.
    """
    rows: list[list[Any]] = [
        [new.ids[r], float(found[r]), "unknown" if unknown[r] else "known", *(said[r] for _, said in more)]
        for r in least_known(found)
    ]
    return Table("The least known", ["id", "score", "", *(name for name, _ in more)], rows, note)


def finished(report: Report, new: Collection, columns: dict[str, Any], out: str | Path | None, **facts: str) -> Report:
    """The report with its facts, and what was found of every item in a file, where one is asked for."""
    report.facts = {**facts, "new items": len(new), "problems": len(new.problems)}
    if out is not None:
        report.facts["written"] = str(write_items(Collection.of({"id": new.ids.tolist(), **columns}), Path(out)))
    return report
