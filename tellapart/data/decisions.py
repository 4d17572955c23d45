"""What somebody said of findings: accepted or rejected. Kept in a file, honoured by all that follows.

A line of the file is `{"item": id, "kind": name, "said": "accept" | "reject" | ""}`; "" takes a decision back, and the
last line about a finding counts. Nothing is deleted: `decided` adds columns. What a curated folder is read for
(`run`, `compare`, an index, a search) is the items that are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.findings import FILE as FINDINGS
from tellapart.core.findings import Findings
from tellapart.data.marks import Mark, marked
from tellapart.data.provenance import with_about
from tellapart.data.said import read_said, write_said

Said = Literal["accept", "reject", ""]

FILE = "decisions.jsonl"
WORDS = ("accept", "reject", "")
MOST_BYTES = 512 * 2**20
DROPPED, LABEL, GIVEN = "dropped", "label", "label_given"


class Decision(NamedTuple):
    """A finding, named by its item and kind, and what was said of it."""

    item: str
    kind: str
    said: Said


def read_decisions(folder: str | Path) -> list[Decision]:
    """The decisions that count, in the order in which the findings were first decided; none where there is no file.

    Raises:
        DataError: the file is too large, cannot be read, or holds something else.
    """
    file = Path(folder) / FILE
    if not file.is_file():
        return []
    last = read_said(
        file,
        Decision,
        lambda decision: decision[:2],
        _sound,
        most_bytes=MOST_BYTES,
        called="decisions",
        form='a decision is {"item": id, "kind": name, "said": "accept", "reject" or ""}',
    )
    return [decision for decision in last.values() if decision.said]


def add_decisions(folder: str | Path, more: Iterable[Decision]) -> list[Decision]:
    """Put further decisions into the file of a folder, which is made where there is none; those that count now.

    Raises:
        DataError: a decision that is none, or a file that cannot be read or written.
    """
    more, file = list(more), Path(folder) / FILE
    for decision in more:
        if not _sound(decision):
            raise DataError(f"{decision.item!r}, {decision.kind!r}: a decision says 'accept', 'reject' or ''")
    last = {d[:2]: d for d in read_decisions(folder)} | {d[:2]: d for d in more}
    kept = [d for d in last.values() if d.said]
    write_said(file, kept)
    return kept


def decided(collection: Collection, findings: Findings, decisions: Sequence[Decision]) -> Collection:
    """The collection with what was accepted, as columns; every item stays.

    `drop`: the column `dropped` says why, null where the item is kept. `relabel`: `label` changes, and `label_given`
    has the labels as they were. `same-as`: a mark "same" (`data.marks`), so the two are one identity. `look` changes
    nothing. A decision about something that was not proposed, or about an item that is not there, does nothing.

    Raises:
        DataError: two labels accepted for one item, a label that the collection does not have, or no column of labels.
    """
    said = {decision[:2]: decision.said for decision in decisions}
    accepted = [
        row
        for row in (findings.proposed().rows() if said else [])
        if said.get((row["item"], row["kind"])) == "accept" and row["item"] in collection.row_of
    ]
    by = {"part": "decisions", **Counter(f"{row['kind']}: {row['action']}" for row in accepted)}
    of = {action: [row for row in accepted if row["action"] == action] for action in ("drop", "relabel", "same-as")}
    if of["relabel"]:
        collection = _relabelled(collection, of["relabel"], by)
    same = [Mark(str(row["item"]), str(row["to"]), "same") for row in of["same-as"]]
    if same:
        collection = marked(collection, same)
    if of["drop"]:
        reasons: dict[str, list[str]] = {}
        for row in of["drop"]:
            reasons.setdefault(str(row["item"]), []).append(f"{row['kind']}: {row['reason']}")
        why = ["; ".join(reasons[i]) if i in reasons else None for i in collection.ids]
        collection = collection.with_column(DROPPED, pa.array(why, pa.string()), by=by)
        kinds = Counter(str(row["kind"]) for row in of["drop"])
        told = ", ".join(f"{count} by {kind}" for kind, count in sorted(kinds.items()))
        note = f"{len(reasons)} of {len(collection)} items were dropped by decision and are left out ({told})"
        collection = with_about(collection, notes=[note])
    return collection


def kept(collection: Collection) -> Collection:
    """The items that no decision dropped.

    Raises:
        DataError: none is left.
    """
    if DROPPED not in collection.columns or collection.provenance(DROPPED) is None:
        return collection
    rows = collection[DROPPED].is_null().to_numpy().nonzero()[0]
    if not len(rows):
        raise DataError("every item was dropped by decision; take some back: tellapart curate FOLDER --forget KIND")
    left = collection.take(rows)
    return Collection(left.table.drop_columns([DROPPED]), problems=left.problems)


def as_decided(collection: Collection, folder: str | Path) -> Collection:
    """A saved collection as the decisions beside it leave it; the same where there are none."""
    folder = Path(folder)
    decisions = read_decisions(folder) if (folder / FINDINGS).is_file() else []
    return kept(decided(collection, Findings.open(folder), decisions)) if decisions else collection


def _relabelled(
    collection: Collection, rows: Sequence[Mapping[str, str | float]], by: Mapping[str, object]
) -> Collection:
    if LABEL not in collection.columns:
        raise DataError("labels were accepted for a collection that has no column 'label'")
    given = collection.values(LABEL)
    known = {str(value): value for value in given if value is not None}
    new: dict[str, str] = {}
    for row in rows:
        item, to = str(row["item"]), str(row["to"])
        if new.setdefault(item, to) != to:
            raise DataError(f"{item!r} was to become both {new[item]!r} and {to!r}: reject one of the two")
        if to not in known:
            raise DataError(f"{item!r} was to become {to!r}, which is no label of this collection")
    values = [known[new[i]] if i in new else value for i, value in zip(collection.ids, given, strict=True)]
    kind = collection[LABEL].type
    made = collection.with_column(GIVEN, pa.array(given, kind), by=by)
    made = made.with_column(LABEL, pa.array(values, kind), by=by)
    return with_about(made, notes=[f"{len(new)} labels were changed by decision; {GIVEN} has those that were given"])


def _sound(decision: Decision) -> bool:
    return all(isinstance(v, str) for v in decision) and decision.said in WORDS and "" not in decision[:2]
