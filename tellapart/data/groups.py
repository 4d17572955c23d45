"""Duplicate groups out of pairs: who belongs together, why, and where a chain of resemblances is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection

LINKS = pa.schema([("a", pa.string()), ("b", pa.string()), ("rule", pa.string()), ("distance", pa.float32())])
LINK = pa.struct([("to", pa.string()), ("rule", pa.string()), ("distance", pa.float32())])
MEMBERS = 64

Guard = Callable[[np.ndarray, np.ndarray], bool]


@dataclass(frozen=True)
class Links:
    """Pairs of rows found by one rule.

    Attributes:
        a, b: [m] row numbers.
        distance: [m], 0 = equal.
        tight: [m] whether the pair makes a duplicate group; a pair that does not only keeps a split from cutting it.
        guard: told two sets of rows that a pair would unite, says whether all are close enough; None: always.
        levels: distances to report the number of groups at: pairs below them count.
    """

    rule: str
    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    tight: np.ndarray
    guard: Guard | None = None
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Groups:
    """What `join` found.

    Attributes:
        group: [n] int64, duplicates have one number.
        near: [n] int64, everything that any pair connects; a group never has two.
        links: for each row the pair by which it came into its group: (row, rule, distance); None for the first.
        refused: how many pairs a guard kept from uniting two groups.
    """

    group: np.ndarray
    near: np.ndarray
    links: list[tuple[int, str, float] | None]
    refused: int


class Sets:
    """Disjoint sets of row numbers; the smallest row stands for its set."""

    def __init__(self, n: int) -> None:
        self.above = list(range(n))

    def find(self, row: int) -> int:
        """The row that stands for the set of this one."""
        above = self.above
        while above[row] != row:
            above[row] = above[above[row]]
            row = above[row]
        return row

    def unite(self, a: int, b: int) -> bool:
        """Make one set of two; False when they were one already."""
        a, b = self.find(a), self.find(b)
        if a == b:
            return False
        self.above[max(a, b)] = min(a, b)
        return True

    def numbers(self) -> np.ndarray:
        """[n] int64: the sets numbered by their first row."""
        roots = np.asarray([self.find(i) for i in range(len(self.above))], dtype=np.int64)
        return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def join(n: int, found: Sequence[Links]) -> Groups:
    """Groups of n rows: the closest pairs first; a pair whose two groups are not close as a whole unites nothing.

    That keeps a chain of small steps from making one group of things that are far apart. Such pairs still count for
    `near`, so that no split can put them on different sides.
    """
    sets, loose = Sets(n), Sets(n)
    members: dict[int, list[int]] = {}
    edges: list[list[tuple[int, str, float]]] = [[] for _ in range(n)]
    refused = 0
    for links in found:
        for i in np.argsort(links.distance, kind="stable"):
            a, b = int(links.a[i]), int(links.b[i])
            loose.unite(a, b)
            if not links.tight[i]:
                continue
            one, other = sets.find(a), sets.find(b)
            if one == other:
                continue
            left, right = members.get(one, [one]), members.get(other, [other])
            if links.guard is not None and not links.guard(np.asarray(left[:MEMBERS]), np.asarray(right[:MEMBERS])):
                refused += 1
                continue
            sets.unite(one, other)
            members[min(one, other)] = [*left, *right] if one < other else [*right, *left]
            members.pop(max(one, other), None)
            edges[a].append((b, links.rule, float(links.distance[i])))
            edges[b].append((a, links.rule, float(links.distance[i])))
    return Groups(sets.numbers(), loose.numbers(), _rooted(edges), refused)


def count_groups(n: int, found: Sequence[Links], upto: Callable[[Links], np.ndarray]) -> int:
    """How many groups there would be, without guards, if the marked pairs of each rule counted."""
    sets = Sets(n)
    united = 0
    for links in found:
        for i in np.flatnonzero(upto(links)):
            united += sets.unite(int(links.a[i]), int(links.b[i]))
    return n - united


def links(collection: Collection) -> pa.Table:
    """Why items are in one duplicate group: a, b (ids), rule and distance; one row fewer than items in each group."""
    if "link" not in collection.columns:
        return LINKS.empty_table()
    rows = [
        {"a": id_, "b": link["to"], "rule": link["rule"], "distance": link["distance"]}
        for id_, link in zip(collection.ids, collection.values("link"), strict=True)
        if link is not None
    ]
    return pa.Table.from_pylist(rows, LINKS)


def _rooted(edges: list[list[tuple[int, str, float]]]) -> list[tuple[int, str, float] | None]:
    """The edges of each tree as one edge a row, pointing towards the first row of the tree."""
    towards: list[tuple[int, str, float] | None] = [None] * len(edges)
    seen = [not e for e in edges]
    for root in range(len(edges)):
        if seen[root]:
            continue
        seen[root] = True
        stack = [root]
        while stack:
            row = stack.pop()
            for other, rule, distance in edges[row]:
                if not seen[other]:
                    seen[other] = True
                    towards[other] = (row, rule, distance)
                    stack.append(other)
    return towards
