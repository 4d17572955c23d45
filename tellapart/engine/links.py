"""Which records of two tables, or of one, are the same: candidates by their vectors, links among them, and clusters.

The steps stand apart, so that another way of doing one leaves the others as they are: `candidates` (through any
index), `sample` and `engine.calibrate` (what a score means; a classifier of pairs gives scores of its own here),
`nearest`, `mutual` and `one_to_one` (which candidates are links), `components` (links to clusters: single linkage, cut
at a threshold; `communities` by networkx beside it). Plain numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.core.errors import DataError, near
from tellapart.core.features import unit_rows
from tellapart.core.needs import require
from tellapart.core.parts import make
from tellapart.core.progress import Progress

BLOCK = 4096


@dataclass(frozen=True)
class Candidates:
    """The nearest records of the other table for each record of the first.

    Attributes:
        rows: [n, k] int64 rows of the other table, best first; -1 where there are fewer.
        scores: [n, k] float32 cosines; -inf there.
    """

    rows: np.ndarray
    scores: np.ndarray

    def best_but(self, of: int, out: set[int]) -> tuple[int, float]:
        """(row, score) of the best candidate of a record that is not among some; (-1, -inf) where there is none."""
        for row, score in zip(self.rows[of].tolist(), self.scores[of].tolist(), strict=True):
            if row >= 0 and row not in out:
                return row, score
        return -1, -np.inf


@dataclass(frozen=True)
class Pairs:
    """Links: rows of the first table, rows of the other, and their scores, [n] each."""

    a: np.ndarray
    b: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.a)


def pooled(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """[n, sum of widths] unit vectors whose cosine is the mean of the cosines of several spaces.

    Args:
        vectors: [n, width] of each space, of any length; a vector of zeros is near nothing.
    """
    made: np.ndarray = unit_rows(np.concatenate([unit_rows(np.asarray(x, np.float32)) for x in vectors], 1))
    return made


def candidates(
    q: np.ndarray, z: np.ndarray, k: int, *, index: str = "exact", same: bool = False, progress: Progress | None = None
) -> Candidates:
    """The k nearest of `z` [m, d] for each of `q` [n, d], all of unit length.

    Args:
        index: a part that finds them.
        same: both are one table, where a record is no candidate of itself.
    """
    made = make("index", index)
    made.add([str(row) for row in range(len(z))], np.asarray(z, np.float32))
    rows, scores = [], []
    for start in range(0, len(q), BLOCK):
        piece = np.asarray(q[start : start + BLOCK], np.float32)
        hits = made.search(piece, min(k + same, len(z)))
        found = np.where(hits.ids == "", "-1", hits.ids).astype(np.int64)
        score = hits.scores.astype(np.float32)
        if same:
            own = found == np.arange(start, start + len(piece))[:, None]
            score = np.where(own, -np.inf, score)
            order = np.argsort(-score, axis=1, kind="stable")[:, :k]
            found, score = np.take_along_axis(np.where(own, -1, found), order, 1), np.take_along_axis(score, order, 1)
        rows.append(found)
        scores.append(score)
        if progress is not None:
            progress(min(start + BLOCK, len(q)), len(q))
    return Candidates(np.concatenate(rows), np.concatenate(scores))


def nearest(found: Candidates, threshold: float) -> Pairs:
    """Each record with its nearest, where that scores at least the threshold; a record of the other may be in many."""
    a = np.flatnonzero((found.scores[:, 0] >= threshold) & (found.rows[:, 0] >= 0))
    return Pairs(a, found.rows[a, 0], found.scores[a, 0])


def mutual(there: Candidates, back: Candidates) -> Pairs:
    """Pairs of which each is the other's nearest."""
    a = np.flatnonzero(there.rows[:, 0] >= 0)
    a = a[back.rows[there.rows[a, 0], 0] == a]
    return Pairs(a, there.rows[a, 0], there.scores[a, 0])


def one_to_one(found: Candidates, threshold: float) -> Pairs:
    """Candidates by falling score, each record in one link at most; ties go to the earlier row.

    A record whose nearest is taken gets its next candidate, as long as that scores at least the threshold.
    """
    a, place = np.nonzero((found.scores >= threshold) & (found.rows >= 0))
    b, scores = found.rows[a, place], found.scores[a, place]
    taken_a, taken_b, kept = set[int](), set[int](), []
    for at in np.lexsort((b, a, -scores)).tolist():
        if int(a[at]) not in taken_a and int(b[at]) not in taken_b:
            taken_a.add(int(a[at]))
            taken_b.add(int(b[at]))
            kept.append(at)
    kept.sort(key=lambda at: int(a[at]))
    return Pairs(a[kept], b[kept], scores[kept])


def within(found: Candidates, threshold: float) -> Pairs:
    """Pairs of one table that score at least the threshold, each once, the earlier row first."""
    a, place = np.nonzero((found.scores >= threshold) & (found.rows >= 0))
    b, scores = found.rows[a, place], found.scores[a, place]
    low, high = np.minimum(a, b), np.maximum(a, b)
    _, first = np.unique(np.stack([low, high]), axis=1, return_index=True)
    return Pairs(low[first], high[first], scores[first])


def components(n: int, pairs: Pairs) -> np.ndarray:
    """[n] int64 cluster of each record, numbered by first member: what links join, directly or through others."""
    parent = np.arange(n)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):
        one, other = sorted((root(a), root(b)))
        parent[other] = one
    roots = np.asarray([root(row) for row in range(n)])
    return np.asarray(np.unique(roots, return_inverse=True)[1].reshape(-1), np.int64)


COMMUNITIES = ("louvain", "label-propagation")


def communities(n: int, pairs: Pairs, how: str, *, seed: int = 0) -> np.ndarray:
    """[n] int64 cluster of each record, numbered by first member: densely linked records, which one wrong link between
    two such sets does not join.

    Links are weighed by their scores, where those are positive.

    Args:
        how: `louvain` (modularity) or `label-propagation`.

    Raises:
        DataError: another way.
    """
    if how not in COMMUNITIES:
        raise DataError(f"there are no communities named {how!r}; {near(how, COMMUNITIES)}")
    found = require("networkx", "communities").algorithms.community
    graph = require("networkx", "communities").Graph()
    graph.add_nodes_from(range(n))
    for a, b, score in zip(pairs.a.tolist(), pairs.b.tolist(), pairs.scores.tolist(), strict=True):
        graph.add_edge(a, b, weight=max(float(score), 1e-3))
    way = found.louvain_communities if how == "louvain" else found.asyn_lpa_communities
    cluster = np.zeros(n, np.int64)
    for number, members in enumerate(sorted(map(sorted, way(graph, weight="weight", seed=seed)))):
        cluster[members] = number
    return cluster


def sample(
    known: Mapping[int, set[int]], wrong: Sequence[tuple[int, int]], found: Candidates, q: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(records [n], scores [n], whether they match [n]) to calibrate on.

    They are each labelled record with each of its matches, and with its nearest that is none; and pairs said to be no
    match.

    Args:
        known: rows of the first table -> their matches in the other, empty for a record that has none there.
        wrong: pairs that are said to be no match.
    """
    pairs = [(a, b, True) for a, matches in known.items() for b in sorted(matches)]
    pairs += [(a, b, False) for a, matches in known.items() if (b := found.best_but(a, matches)[0]) >= 0]
    pairs += [(a, b, False) for a, b in wrong]
    pairs = list(dict.fromkeys(pairs))
    rows, others = (np.asarray([pair[at] for pair in pairs], np.int64) for at in (0, 1))
    return rows, np.einsum("nd,nd->n", q[rows], z[others]), np.asarray([pair[2] for pair in pairs], bool)
