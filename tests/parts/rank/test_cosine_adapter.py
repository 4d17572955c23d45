"""What the query-dependent cut-off promises beyond its formula."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.parts import make


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def two_kinds(seed, n=200, dim=8):
    """For one kind of query the relevant documents are near, for the other they are far: no one cosine serves both."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    q = unit(rng.normal(size=(n, dim)) + 2 * np.where(kind, 1, -1)[:, None] * np.eye(dim)[0])
    documents, pairs = [], []
    for i in range(n):
        for relevant in (True, False):
            wide = (0.25 if relevant else 0.45) if kind[i] else (0.9 if relevant else 1.6)
            for _ in range(3):
                pairs += [(i, len(documents))] if relevant else []
                documents.append(q[i] + wide * rng.normal(size=dim) / dim**0.5)
    return q, unit(np.array(documents)), np.array(pairs), kind


def precision(part, q, k, pairs, rows):
    ids = np.array([f"{j:05d}" for j in range(len(k))])
    hits = Hits.sorted(np.tile(ids, (len(rows), 1)), q[rows] @ k.T, 30)
    out = part.rank(q[rows], hits, None)
    own = {(i, f"{j:05d}") for i, j in pairs.tolist()}
    kept = [(i, id_) for i, row in zip(rows.tolist(), range(len(rows)), strict=True) for id_, _ in out[row]]
    return sum(p in own for p in kept) / len(kept), len(kept)


def fitted(q, k, pairs, rows, **options):
    mine = pairs[np.isin(pairs[:, 0], rows)]
    return make("rank", "cosine-adapter", candidates=30, **options).fit(q, k, pairs=mine)


def test_the_map_beats_one_threshold_where_queries_differ():
    q, k, pairs, _ = two_kinds(0)
    fit, test = np.arange(150), np.arange(150, 200)
    mapped, _ = precision(fitted(q, k, pairs, fit, recall=0.8), q, k, pairs, test)
    plain, _ = precision(fitted(q, k, pairs, fit, recall=0.8, hidden=0), q, k, pairs, test)
    assert mapped > plain + 0.03


def test_a_higher_recall_keeps_more():
    q, k, pairs, _ = two_kinds(1)
    rows = np.arange(200)
    counts = [precision(fitted(q, k, pairs, rows, recall=r), q, k, pairs, rows)[1] for r in (0.5, 0.8, 0.99)]
    assert counts[0] < counts[1] < counts[2]


def test_a_query_like_nothing_gets_no_answer():
    q, k, pairs, _ = two_kinds(2)
    part = fitted(q, k, pairs, np.arange(200), recall=0.8)
    nothing = Hits(np.array([["a", "b"]]), np.array([[-0.4, -0.6]], dtype=np.float32))
    assert part.rank(q[:1], nothing, None)[0] == []


def test_a_caption_and_its_picture_may_go_by_one_id():
    q, k, pairs, _ = two_kinds(3)
    ids = [f"{j}" for j in range(len(k))]
    names = [f"{pairs[pairs[:, 0] == i, 1][0]}" for i in range(len(q))]
    apart = make("rank", "cosine-adapter", candidates=30, epochs=3).fit(q, k, ids=ids, pairs=pairs)
    together = make("rank", "cosine-adapter", candidates=30, epochs=3).fit(q, k, query_ids=names, ids=ids, pairs=pairs)
    assert together.threshold_ == apart.threshold_


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (np.array([[i, i] for i in range(4)]), "at least 10 queries"),
        (np.array([[i, j] for i in range(12) for j in range(20)]), "every candidate is relevant"),
        (np.array([[0, 500]]), "row numbers"),
    ],
)
def test_too_little_to_learn_from_is_said(pairs, words):
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=words):
        make("rank", "cosine-adapter").fit(unit(rng.normal(size=(12, 4))), unit(rng.normal(size=(20, 4))), pairs=pairs)


def test_equal_seeds_give_equal_maps_and_other_seeds_others():
    q, k, pairs, _ = two_kinds(4)
    one, two, other = (fitted(q, k, pairs, np.arange(200), epochs=5, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.w1_, two.w1_) and one.threshold_ == two.threshold_ != other.threshold_
