"""Splits that cut no concept and no duplicate group, and the count of near twins that a split leaves on two sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tellapart.core.close import cosine_pairs
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.core.plan import generator
from tellapart.data.groups import Sets
from tellapart.data.provenance import with_about
from tellapart.data.votes import by_vote

NAMES = ("train", "validation", "test")
WHOLE = ("concept", "group", "near")
LEAK_SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string()), ("similarity", pa.float32())])


@dataclass(frozen=True)
class Leaks:
    """Near twins across the split.

    Attributes:
        pairs: a (held out), b (in train), similarity.
        ids: the held-out items that have a twin in train; a figure without them is the honest one.
        of: how many items are held out.
    """

    pairs: pa.Table
    ids: tuple[str, ...]
    of: int

    def __len__(self) -> int:
        return len(self.ids)


def split(
    collection: Collection, *, seed: int, shares: Sequence[float] = (0.7, 0.1, 0.2), by: str | None = None
) -> Collection:
    """The collection with a column `split`: `train`, `validation` or `test`.

    Never cut are: `by` (default: `concept`, where there is one), the duplicate group, what is `near` (so run `curate`
    first), and the answers of one query of text. Labels keep their shares where that leaves groups whole.

    Args:
        seed: the same seed gives the same split.
        shares: of train, validation and test; they sum to 1, and train is not 0.
        by: a column whose equal values stay together, such as `label` for a test on unseen classes.

    Raises:
        DataError: too few groups for the shares, or shares that are none.
    """
    wanted = _checked(shares)
    units = components(collection, by)
    n, count = len(collection), int(units.max(initial=-1)) + 1
    needed = sum(s > 0 for s in wanted)
    if count < needed:
        raise DataError(
            f"{n} items make {count} group{'s' if count != 1 else ''} that must stay together, and {needed} splits "
            f"need at least {needed}.{_alike(collection, by)} Give more items that differ"
        )
    strata = collection.codes("label")[0] + 1 if "label" in collection.columns and by != "label" else np.zeros(n, int)
    side = _assign(units, strata, np.asarray(wanted), generator(seed, 0))
    got = np.bincount(side, minlength=3)
    empty = [NAMES[s] for s in range(3) if wanted[s] > 0 and not got[s]]
    if empty:
        largest = int(np.bincount(units).max())
        raise DataError(
            f"the split would leave {' and '.join(empty)} empty: {n} items make {count} groups that must stay "
            f"together, the largest with {largest}.{_alike(collection, by)} Give more items that differ, about "
            f"{math.ceil(1 / min(s for s in wanted if s > 0))} at least"
        )
    record = {"part": "split", "seed": seed, "shares": list(wanted), "by": by, "whole": _whole(collection, by),
              "groups": count, "counts": dict(zip(NAMES, got.tolist(), strict=True))}  # fmt: skip
    made = collection.with_column("split", pa.array(np.asarray(NAMES, dtype=object)[side], pa.string()), by=record)
    return with_about(made, notes=_notes(made, got, wanted))


def components(collection: Collection, by: str | None = None) -> np.ndarray:
    """[n] int64: the sets of items that a split may not cut, numbered by their first item."""
    if by is not None and by not in collection.columns:
        raise DataError(f"by= names {by!r}; {near(by, collection.columns)}")
    sets = Sets(len(collection))
    for column in _whole(collection, by):
        first: dict[int, int] = {}
        for row, code in enumerate(collection.codes(column)[0].tolist()):
            if code >= 0:
                sets.unite(first.setdefault(code, row), row)
    return sets.numbers()


def leaks(collection: Collection, z: np.ndarray | None = None, *, threshold: float = 0.98) -> Leaks:
    """Held-out items with a near twin in train: by vectors where they are given, by `near` and `group` otherwise.

    Votes have none: a held-out vote is for an item that others voted for, which is what is asked.

    Args:
        z: [n, d] row-aligned vectors of the items.
        threshold: the cosine from which two items are twins.

    Raises:
        DataError: no split, or vectors that do not fit.
    """
    sides = np.asarray(collection.values("split"), dtype=object)
    train = sides == "train"
    if by_vote(collection):
        return Leaks(LEAK_SCHEMA.empty_table(), (), int((~train).sum()))
    if z is not None:
        if np.ndim(z) != 2 or len(z) != len(collection):
            raise DataError(f"z must have one row for each of the {len(collection)} items")
        a, b, score = cosine_pairs(z, threshold)
    else:
        a, b, score = _twins(collection, train)
    across = train[a] != train[b]
    held, seen = np.where(train[a], b, a)[across], np.where(train[a], a, b)[across]
    ids = collection.ids
    pairs = pa.table(
        [pa.array(ids[held]), pa.array(ids[seen]), pa.array(score[across], pa.float32())], schema=LEAK_SCHEMA
    )
    return Leaks(pairs, tuple(dict.fromkeys(ids[np.sort(held)])), int((~train).sum()))


def _twins(collection: Collection, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each held-out item one item of train in the same `near` or `group`, where there is one."""
    pairs = []
    for column in ("near", "group"):
        if column in collection.columns:
            codes = collection.codes(column)[0]
            in_train = {int(codes[i]): int(i) for i in np.flatnonzero(train)}
            pairs += [(int(i), in_train[int(codes[i])]) for i in np.flatnonzero(~train) if int(codes[i]) in in_train]
    a, b = np.asarray(sorted(set(pairs)), np.int64).reshape(-1, 2).T
    return a, b, np.ones(len(a), np.float32)


def _whole(collection: Collection, by: str | None) -> list[str]:
    columns = [c for c in WHOLE if c in collection.columns and not (c == "concept" and by is not None)]
    if "anchor" in collection.columns and "target" in collection.columns:
        columns.append("target")
    return [*([by] if by is not None else []), *columns]


def _alike(collection: Collection, by: str | None) -> str:
    """What makes so few groups of many items, as a sentence; "" where the items themselves are few."""
    n = len(collection)
    counts = {column: len(collection.codes(column)[1]) for column in _whole(collection, by)}
    column = min(counts, key=lambda name: counts[name], default="")
    if not column or counts[column] > n / 2:
        return ""
    if column == "target":
        return f" They ask {counts[column]} different queries in all."
    if column in ("group", "near"):
        return f" Most repeat another one: without duplicates and near duplicates there are {counts[column]}."
    return f" They have {counts[column]} different values of {column!r} in all."


def _checked(shares: Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(s) for s in shares)
    if len(values) != 3 or not all(0 <= s <= 1 for s in values) or abs(sum(values) - 1) > 1e-6 or values[0] == 0:
        raise DataError(f"shares are three numbers for train, validation and test that sum to 1, not {tuple(shares)}")
    return values


def _assign(units: np.ndarray, strata: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[n] side of each item. Sets of several items go first, largest first; single ones then fill what is missing."""
    n = len(units)
    sizes = np.bincount(units)
    wanted = shares * np.bincount(strata)[:, None]
    got = np.zeros_like(wanted)
    side_of = np.full(len(sizes), -1)
    rows_of = np.split(np.argsort(units, kind="stable"), np.cumsum(sizes)[:-1])
    several = np.flatnonzero(sizes > 1)
    several = several[np.lexsort((rng.random(len(several)), -sizes[several]))]
    for unit in several:
        held = np.bincount(strata[rows_of[unit]], minlength=len(wanted))
        side_of[unit] = side = _best(held, wanted, got, shares)
        got[:, side] += held
    single = np.flatnonzero(sizes == 1)
    rows = np.asarray([rows_of[u][0] for u in single], dtype=np.int64)
    order = np.lexsort((rng.random(len(rows)), rng.permutation(len(wanted))[strata[rows]]))
    side_of[single[order]] = _interleaved(_quotas(n * shares - got.sum(0), len(rows)), rng)
    return side_of[units]


def _best(held: np.ndarray, wanted: np.ndarray, got: np.ndarray, shares: np.ndarray) -> int:
    """The side that lacks most of what a set holds, relative to its share, among those with room for the set."""
    lacks, size = wanted - got, held.sum()
    room = (lacks.sum(0) >= size) & (shares > 0)
    if not room.any():
        return int(np.argmax(np.where(shares > 0, lacks.sum(0), -np.inf)))
    score = held @ lacks / np.maximum(shares, 1e-12)
    # Equal up to rounding counts as equal: the larger share then comes first.
    score = np.where(room, np.round(score, 6), -np.inf)
    return int(np.lexsort((-shares, -score))[0])


def _quotas(lacks: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers that sum to `count`, as close to what each side lacks as can be."""
    lacks = np.maximum(lacks, 0)
    exact = lacks * (count / lacks.sum()) if lacks.sum() > 0 else np.asarray([count, 0, 0], float)
    quotas = np.floor(exact).astype(int)
    quotas[np.argsort(quotas - exact, kind="stable")[: count - quotas.sum()]] += 1
    return quotas


def _interleaved(quotas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sides in a sequence in which each comes at even distances, so that every stretch has about the same shares."""
    places = np.concatenate([(np.arange(q) + rng.random()) / max(q, 1) for q in quotas])
    sides = np.repeat(np.arange(len(quotas)), quotas)
    return sides[np.argsort(places, kind="stable")]


def _notes(collection: Collection, got: np.ndarray, wanted: Sequence[float]) -> list[str]:
    notes = []
    n = got.sum()
    off = [
        f"{NAMES[s]} {got[s] / n:.0%} instead of {wanted[s]:.0%}"
        for s in range(3)
        if abs(got[s] / n - wanted[s]) > 0.05
    ]
    if off:
        notes.append(f"large groups stay whole, so the shares are {', '.join(off)}")
    if "label" in collection.columns:
        codes, names = collection.codes("label")
        taught = set(codes[np.asarray(collection.values("split"), dtype=object) == "train"].tolist())
        missing = len(names) - len(taught - {-1})
        if missing:
            notes.append(f"{missing} of {len(names)} labels have no item in train")
    return notes
