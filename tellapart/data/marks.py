"""What somebody said of two items: really the same, or really different. Kept in a file, honoured by all that follows.

Identity flows from here to split, sampler, loss mask, miner, evaluator and index, so a mark changes the identities:
items that are the same share a duplicate group and are positive to each other; items that are different do not share a
group. A line of the file is `{"a": id, "b": id, "said": "same" | "different" | ""}`; "" takes a mark back, and the last
line about two items counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.groups import Sets
from tellapart.data.provenance import with_about
from tellapart.data.said import read_said, write_said

Said = Literal["same", "different", ""]

FILE = "marks.jsonl"
MARK_BYTES = 32 * 2**20
WORDS = ("same", "different", "")


class Mark(NamedTuple):
    """Two ids and what was said of them."""

    a: str
    b: str
    said: Said


def read_marks(file: str | Path, *, missing_ok: bool = False) -> list[Mark]:
    """The marks that count, in the order in which the pairs were first marked.

    Raises:
        DataError: the file is not there (unless that may be), too large, cannot be read, or holds something else.
    """
    file = Path(file)
    if not file.is_file():
        if missing_ok:
            return []
        raise DataError(f"there is no file of marks {file}; tellapart serve writes one where pairs are marked")
    last = read_said(
        file,
        Mark,
        lambda mark: frozenset(mark[:2]),
        _sound,
        most_bytes=MARK_BYTES,
        called="marks",
        form='a mark is {"a": id, "b": id, "said": "same", "different" or ""} of two different items',
    )
    return [mark for mark in last.values() if mark.said]


def add_mark(file: str | Path, mark: Mark) -> list[Mark]:
    """Put one more mark into the file, which is made where there is none; the marks that count now.

    Raises:
        DataError: a mark that is none, or a file that cannot be read or written.
    """
    if not _sound(mark):
        raise DataError(f"{mark.a!r} and {mark.b!r}: a mark says 'same', 'different' or '' of two different items")
    file = Path(file)
    marks = {frozenset(m[:2]): m for m in read_marks(file, missing_ok=True)} | {frozenset(mark[:2]): mark}
    kept = [m for m in marks.values() if m.said]
    write_said(file, kept)
    return kept


def marked(collection: Collection, marks: Sequence[Mark]) -> Collection:
    """A curated collection whose identities follow the marks.

    The same: one group, and positive to each other, through `target`, unless a label says who is. Different: the
    longest of the steps by which the two came into one group is taken back. Marks of items that are not there do
    nothing. A note says how many counted.

    Args:
        collection: with the columns `group` and `near`, see `curate`.

    Raises:
        DataError: the collection has no groups, or marks that contradict each other.
    """
    row_of = collection.row_of
    known = [(row_of[m.a], row_of[m.b], m.said) for m in marks if m.a in row_of and m.b in row_of]
    if not known:
        return collection
    if not {"group", "near"} <= set(collection.columns):
        raise DataError("marks change the duplicate groups: curate the collection first")
    same = [(a, b) for a, b, said in known if said == "same"]
    different = [(a, b) for a, b, said in known if said == "different"]
    group = _regrouped(collection, same, different)
    by = {"part": "marks", "same": len(same), "different": len(different)}
    made = collection.with_column("group", pa.array(group), by=by)
    near = _united(collection.numbers("near"), same)
    made = made.with_column("near", pa.array(near), by=by)
    made = _with_target(made, same, by)
    note = f"{len(same)} pairs were marked as the same and {len(different)} as different, and count as that"
    return with_about(made, notes=[note])


def _regrouped(
    collection: Collection, same: Sequence[tuple[int, int]], different: Sequence[tuple[int, int]]
) -> np.ndarray:
    """[n] int64 groups: what links and marks connect, after every way between two different items was cut."""
    steps = _steps(collection)
    for a, b in same:
        steps[a][b] = steps[b][a] = -np.inf
    for a, b in different:
        while way := _way(steps, a, b):
            one, other = max(itertools.pairwise(way), key=lambda step: steps[step[0]][step[1]])
            if steps[one][other] == -np.inf:
                names = " and ".join(repr(str(collection.ids[row])) for row in (a, b))
                raise DataError(f"{names} are marked as different, and by other marks they are the same; correct one")
            del steps[one][other], steps[other][one]
    sets = Sets(len(collection))
    for row, others in enumerate(steps):
        for other in others:
            sets.unite(row, other)
    return sets.numbers()


def _steps(collection: Collection) -> list[dict[int, float]]:
    """For each row the rows that it was grouped with, and how far they are from it."""
    steps: list[dict[int, float]] = [{} for _ in range(len(collection))]
    group = collection.numbers("group")
    _, first, number = np.unique(group, return_index=True, return_inverse=True)
    links = collection.values("link") if "link" in collection.columns else [None] * len(collection)
    row_of = collection.row_of
    for row, link in enumerate(links):
        head = int(first[number[row]])
        other = row_of.get(link["to"], head) if link is not None else head
        if other != row and group[other] == group[row]:
            steps[row][other] = steps[other][row] = float(link["distance"]) if link is not None else 0.0
    return steps


def _way(steps: Sequence[dict[int, float]], a: int, b: int) -> list[int]:
    """Rows from a to b; none where nothing connects them."""
    came: dict[int, int] = {a: a}
    waiting = [a]
    while waiting and b not in came:
        row = waiting.pop()
        for other in steps[row]:
            if other not in came:
                came[other] = row
                waiting.append(other)
    if b not in came:
        return []
    way = [b]
    while way[-1] != a:
        way.append(came[way[-1]])
    return way


def _with_target(collection: Collection, same: Sequence[tuple[int, int]], by: dict[str, object]) -> Collection:
    """Items marked as the same are positive to each other, where it is pairs that say what is positive."""
    sides = collection.sides()
    if not same or sides.same_space:
        return collection
    given = collection.values(sides.target) if sides.target else [None] * len(collection)
    names = [f"item {i}" if value is None else str(value) for i, value in zip(collection.ids, given, strict=True)]
    distinct, codes = np.unique(names, return_inverse=True)
    united = _united(codes, same)
    head = dict(zip(united.tolist(), codes.tolist(), strict=True))
    return collection.with_column("target", pa.array([str(distinct[head[u]]) for u in united.tolist()]), by=by)


def _united(codes: np.ndarray, same: Sequence[tuple[int, int]]) -> np.ndarray:
    """[n] int64: the codes with those of each pair of rows made one."""
    sets = Sets(int(codes.max(initial=-1)) + 1)
    for a, b in same:
        sets.unite(int(codes[a]), int(codes[b]))
    return sets.numbers()[codes]


def _sound(mark: Mark) -> bool:
    a, b, said = mark
    return all(isinstance(v, str) for v in mark) and said in WORDS and "" not in (a, b) and a != b
