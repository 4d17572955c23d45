from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.errors import DataError
from tellapart.core.nearest import exact_scores, nearest, take
from tellapart.engine.topk import topk, topk_blocks


def unit(rng, n, d=24):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def plain(q, k, depth, keep=None, ranks=None):
    """Every score in one fixed order, then a full sort by (score, rank)."""
    s = np.stack([exact_scores(np.broadcast_to(row, k.shape), k) for row in q]).astype(np.float64)
    if keep is not None:
        s = np.where(keep, s, -np.inf)
    ranks = np.arange(len(k)) if ranks is None else ranks
    order = np.lexsort((np.broadcast_to(ranks, s.shape), -s), axis=-1)[:, :depth]
    return np.take_along_axis(s, order, 1).astype(np.float32), order


@pytest.mark.parametrize("columns", [7, 100, 4096])
@pytest.mark.parametrize("n", [1, 50, 3000])
@pytest.mark.parametrize("depth", [1, 10, 300])
def test_equals_a_full_sort(n, depth, columns):
    rng = np.random.default_rng(n + depth)
    q, k = unit(rng, 37), unit(rng, n)
    scores, rows = topk(q, k, depth, block=16, columns=columns)
    want, order = plain(q, k, depth)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, want, atol=2e-7)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("distinct", [1, 2, 40])
def test_equal_vectors_tie_and_come_by_number(distinct):
    rng = np.random.default_rng(distinct)
    q, few = unit(rng, 33, 384), unit(rng, distinct, 384)
    k = few[rng.integers(0, distinct, 5003)]
    scores, rows = topk(q, k, 20, block=13)
    want, order = plain(q, k, 20)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_array_equal(scores, want)


def test_ties_go_by_rank_when_ranks_are_given():
    rng = np.random.default_rng(5)
    q, k = unit(rng, 9, 384), unit(rng, 3, 384)[rng.integers(0, 3, 3000)]
    ranks = rng.permutation(len(k))
    _, rows = nearest(q, [k[:700], k[700:]], 25, ranks=ranks)
    np.testing.assert_array_equal(rows, plain(q, k, 25, ranks=ranks)[1])


def test_scores_that_rise_with_the_column_number_overflow_no_pool():
    k = np.stack([np.cos(t := np.linspace(1.5, 0, 6000)), np.sin(t)], 1).astype(np.float32)
    q = np.asarray([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    np.testing.assert_array_equal(topk(q, k, 30, columns=997)[1], plain(q, k, 30)[1])


def test_only_kept_columns_are_found():
    rng = np.random.default_rng(3)
    q, k = unit(rng, 20), unit(rng, 4000)
    keep = rng.random(4000) < 0.01
    scores, rows = topk(q, k, 500, keep=keep, columns=64)
    assert scores.shape == (20, keep.sum())
    np.testing.assert_array_equal(rows, plain(q, k, int(keep.sum()), keep)[1])


def test_memory_mapped_and_half_precision_documents(tmp_path):
    rng = np.random.default_rng(2)
    q, k = unit(rng, 5), unit(rng, 2000).astype(np.float16)
    np.save(tmp_path / "k.npy", k)
    mapped = np.load(tmp_path / "k.npy", mmap_mode="r")
    want = plain(q, k.astype(np.float32), 7)
    np.testing.assert_array_equal(topk(q, mapped, 7)[1], want[1])


def test_blocks_start_where_asked():
    rng = np.random.default_rng(1)
    q, k = unit(rng, 10), unit(rng, 30)
    whole = topk(q, k, 3)[1]
    blocks = list(topk_blocks(q, k, 3, block=4, start=4))
    assert [b[0] for b in blocks] == [4, 8]
    np.testing.assert_array_equal(np.concatenate([b[2] for b in blocks]), whole[4:])


def test_progress_counts_queries():
    seen = []
    rng = np.random.default_rng(1)
    topk(unit(rng, 10), unit(rng, 3), 1, block=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_memory_is_bounded_by_the_block(tmp_path):
    import tracemalloc

    rng = np.random.default_rng(0)
    q, k = unit(rng, 4000, 16), unit(rng, 20_000, 16)
    tracemalloc.start()
    for _ in topk_blocks(q, k, 10, block=64, columns=512):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000 < len(q) * len(k) * 4 / 50


def test_take_reads_across_parts():
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    rows = np.asarray([9, 0, 3, 4])
    np.testing.assert_array_equal(take([x[:4], x[4:5], x[5:]], rows), x[rows])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 60), st.integers(1, 80), st.booleans())
def test_property_equals_a_full_sort(seed, m, depth, columns, coarse):
    rng = np.random.default_rng(seed)
    q, k = rng.standard_normal((5, 6)), rng.standard_normal((m, 6))
    if coarse:
        q, k = q.round(), k.round()
    q, k = q.astype(np.float32), k.astype(np.float32)
    np.testing.assert_array_equal(topk(q, k, depth, block=2, columns=columns)[1], plain(q, k, depth)[1])


def test_bad_input_is_refused_in_words():
    rng = np.random.default_rng(0)
    q, k = unit(rng, 3), unit(rng, 4)
    with pytest.raises(DataError, match="24 dimensions and documents 5"):
        topk(q, unit(rng, 4, 5), 1)
    with pytest.raises(DataError, match="at least 1"):
        topk(q, k, 0)
    k[2, 1] = np.nan
    with pytest.raises(DataError, match="row 2 of the documents"):
        topk(q, k, 1)
    with pytest.raises(DataError, match="matrix"):
        topk(q[0], q, 1)


def test_selecting_beside_the_product_gives_the_same_bits(monkeypatch):
    rng = np.random.default_rng(4)
    q, k = unit(rng, 50), unit(rng, 9000)
    keep = rng.random(9000) < 0.7
    alone = topk(q, k, 40, keep=keep, columns=512)
    monkeypatch.setattr("tellapart.core.nearest.NUMBERS_TO_OVERLAP", 1)
    beside = topk(q, k, 40, keep=keep, columns=512)
    np.testing.assert_array_equal(beside[0], alone[0])
    np.testing.assert_array_equal(beside[1], alone[1])


def test_a_failure_while_selecting_is_not_swallowed(monkeypatch):
    def broken(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr("tellapart.core.nearest.NUMBERS_TO_OVERLAP", 1)
    monkeypatch.setattr("tellapart.core.nearest.Pool.merge", broken)
    rng = np.random.default_rng(4)
    with pytest.raises(MemoryError, match="no room"):
        topk(unit(rng, 5), unit(rng, 9000), 4)
