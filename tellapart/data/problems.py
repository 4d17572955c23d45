"""What could not be taken in, and what a collection holds, as tables to show."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.data.limits import PROBLEMS
from tellapart.data.provenance import about

Problem = tuple[str, str, str]


class Problems:
    """Rows (id, place, reason) collected while reading; beyond a limit they are counted, not kept."""

    def __init__(self, limit: int = PROBLEMS) -> None:
        self.limit = limit
        self.count = 0
        self.kept: list[Problem] = []

    def add(self, id_: str, place: str, reason: str) -> None:
        """One more problem; ids and places in any script, without what Arrow cannot hold."""
        self.count += 1
        if len(self.kept) < self.limit:
            self.kept.append((_writable(id_), _writable(place), _writable(reason)))

    def rows(self) -> list[Problem]:
        """What `Collection.with_problems` takes; the last row says how many were not kept."""
        if self.count <= self.limit:
            return list(self.kept)
        return [*self.kept, ("", "", f"{self.count - self.limit} further problems are counted and not listed")]


def refuse_if_empty(found: int, problems: Problems, source: str, wanted: str) -> None:
    """Raise when nothing is left, saying what was found and what to do.

    Args:
        found: how many items are left.
        wanted: what the source should hold, as the last sentence of the message.
    """
    if found:
        return
    if problems.count:
        reasons = Counter(_kind(reason) for _, _, reason in problems.kept)
        most, times = reasons.most_common(1)[0]
        first = next(p for p in problems.kept if _kind(p[2]) == most)
        raise DataError(
            f"nothing in {source} can be used: {problems.count} items, each with a problem; {times} of them: {most} "
            f"(such as {first[1] or first[0]}: {first[2]}). {wanted}"
        )
    raise DataError(f"{source} holds no items. {wanted}")


def problems_table(collection: Collection, *, limit: int = 20) -> Table:
    """The problems by reason, most frequent first: reason, count, and the first places where it was met."""
    groups: dict[str, list[Problem]] = {}
    for row in collection.problems.to_pylist():
        groups.setdefault(_kind(row["reason"]), []).append((row["id"], row["place"], row["reason"]))
    ordered = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    rows = [[reason, len(found), ", ".join(p[1] or p[0] for p in found[:3])] for reason, found in ordered[:limit]]
    note = f"{len(ordered) - limit} further reasons are not shown" if len(ordered) > limit else ""
    return Table("Problems", ("reason", "count", "first places"), rows, note)


def summary(collection: Collection, *, limit: int = 20) -> Report:
    """What a collection holds: items, problems, duplicates, labels, splits, and the notes of reading it."""
    facts = about(collection)
    report = Report(str(facts.get("name", "Collection")), facts=facts)
    report.add(Figure("items", len(collection), count=len(collection), unit="items"))
    report.add(Figure("problems", len(collection.problems), count=len(collection.problems), unit="items"))
    if "group" in collection.columns and len(collection):
        sizes = np.bincount(collection.codes("group")[0])
        report.add(Figure("groups", len(sizes), count=len(collection), unit="groups"))
        report.add(Figure("items with a duplicate", int(sizes[sizes > 1].sum()), count=len(collection), unit="items"))
        report.add(Figure("largest group", int(sizes.max()), count=len(sizes), unit="items"))
    for column in ("label", "concept"):
        if column in collection.columns:
            report.add(Figure(f"{column}s", len(collection.codes(column)[1]), count=len(collection), unit=f"{column}s"))
    if "split" in collection.columns:
        counts = Counter(collection.values("split"))
        rows = [[name, count, count / len(collection)] for name, count in sorted(counts.items(), key=str)]
        report.add(Table("Splits", ("split", "items", "share"), rows))
    if len(collection.problems):
        report.add(problems_table(collection, limit=limit))
    report.add(*(Text(note) for note in facts.get("notes", [])))
    if "attribution" in facts:
        report.add(Text(f"{facts['attribution']} ({facts.get('licence', 'licence not stated')})"))
    return report


def _kind(reason: str) -> str:
    """The part of a reason that items share: what stands before the first colon, quotation mark or bracket."""
    for mark in (": ", " '", " (", ' "'):
        reason = reason.split(mark, 1)[0]
    return reason


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
