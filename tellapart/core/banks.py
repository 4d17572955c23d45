"""How strongly a bank of vectors attracts an item: what the normalisations against hubs share. numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.hits import Hits

Vectors = Callable[[np.ndarray], np.ndarray]
ENTRIES = 1 << 22


def bank(x: object, ids: object = None, *, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(unit vectors [b, d] float32, ids [b] of str; without ids each is empty), refused in words when unusable."""
    rows = unit_rows(matrix(x, what=what)).astype(np.float32)
    names = np.full(len(rows), "") if ids is None else np.asarray(ids, dtype=str)
    if names.shape != (len(rows),):
        raise DataError(f"one id a row is needed: {what} has {len(rows)} rows and {len(names)} ids")
    return rows, names


def distinct(queries: object, hits: Hits, vectors: Vectors, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items of the hits once each: ids [u], unit vectors [u, dim] float32, and where each hit is found [n, k].

    Filling points at row 0; its score of -inf stays what it is under any shift.

    Raises:
        DataError: queries or vectors of another width or number than they should be, or not finite.
    """
    asked = len(matrix(queries, dim=dim, what="queries"))
    if asked != len(hits):
        raise DataError(f"there are {asked} queries, but hits of {len(hits)}")
    found = hits.ids != ""
    ids, inverse = np.unique(hits.ids[found], return_inverse=True)
    place = np.zeros(hits.ids.shape, dtype=np.int64)
    place[found] = inverse
    if not len(ids):
        return ids, np.zeros((0, dim), dtype=np.float32), place
    z = unit_rows(matrix(vectors(ids), dim=dim, what="the vectors of the hits")).astype(np.float32)
    if len(z) != len(ids):
        raise DataError(f"the hits hold {len(ids)} items, but {len(z)} vectors were given for them")
    return ids, z, place


def attraction(z: np.ndarray, ids: np.ndarray, rows: np.ndarray, names: np.ndarray, temperature: float) -> np.ndarray:
    """[u] log of the mean over a bank (unit `rows` with ids `names`) of exp(<z_i, row_j> / temperature), in float64.

    A row with the id of the item is left out of its mean. An item that alone is the bank gets 0.
    """
    out = np.zeros(len(z))
    step = max(1, ENTRIES // len(rows))
    for start in range(0, len(z), step):
        part = slice(start, start + step)
        scores = (z[part] @ rows.T).astype(np.float64) / temperature
        own = (ids[part, None] == names) & (names != "")
        scores[own] = -np.inf
        top = scores.max(axis=1)
        some = np.isfinite(top)
        total = np.exp(scores[some] - top[some, None]).sum(axis=1)
        out[part][some] = top[some] + np.log(total / (~own[some]).sum(axis=1))
    return out


def pairs_of(pairs: object, queries: int, documents: int) -> np.ndarray:
    """[p, 2] int64 rows of queries and documents that belong together; None is none."""
    own = np.asarray([] if pairs is None else pairs, dtype=np.int64).reshape(-1, 2)
    if len(own) and (own.min() < 0 or (own >= [queries, documents]).any()):
        raise DataError("pairs must hold row numbers of queries and documents")
    return own


def candidates(
    queries: object, documents: object, query_ids: object, ids: object, pairs: object, k: int, *, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a scorer of hits learns from: each query with its k nearest documents, as a search would give them.

    Queries without a pair are left out, and documents of a query that are not among its nearest do not come in. A
    document with the id of the query is no candidate of it, unless it is said to be relevant (a caption and its picture
    go by one id).

    Args:
        k: how many of the nearest documents.
        least: how many queries that find a document of their own are needed.

    Returns:
        Unit queries [a, d] float64; and for every candidate its query's row, its cosine, and whether it is relevant.

    Raises:
        DataError: vectors, ids or pairs that cannot be used, too few pairs, or no candidate that is irrelevant.
    """
    z, names = bank(queries, query_ids, what="queries")
    keys, key_ids = bank(documents, ids, what="documents")
    matrix(keys, dim=z.shape[1], what="documents")
    own = pairs_of(pairs, len(z), len(keys))
    rows, cosines, relevant = [], [], []
    for q in np.unique(own[:, 0]):
        scores, mine = keys @ z[q], own[own[:, 0] == q, 1]
        itself = (key_ids == names[q]) & (key_ids != "")
        itself[mine] = False
        scores[itself] = -np.inf
        at = np.sort(np.argpartition(-scores, min(k, len(keys)) - 1)[:k])
        at = at[np.isfinite(scores[at])]
        rows.append(np.full(len(at), q))
        cosines.append(scores[at])
        relevant.append(np.isin(at, mine))
    found = sum(bool(r.any()) for r in relevant)
    if found < least:
        raise DataError(f"at least {least} queries with a relevant document are needed, not {found}: give more pairs")
    y = np.concatenate(relevant)
    if y.all():
        raise DataError("every candidate is relevant: there is nothing to tell apart")
    return z.astype(np.float64), np.concatenate(rows), np.concatenate(cosines), y
