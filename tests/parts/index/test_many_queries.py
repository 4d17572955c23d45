"""Many queries at once go cell by cell; they must find what FAISS finds for a few."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tellapart.core.parts import make

grouped = importlib.import_module("tellapart.parts.index._grouped")
ivf = importlib.import_module("tellapart.parts.index.ivf")
K, CELLS, PROBE = 20, 24, 4


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def world(n=2000, queries=200, d=24, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, d))
    z = unit(centres[rng.integers(0, 30, n)] + rng.normal(size=(n, d)))
    return [f"i{i:05d}" for i in rng.permutation(n)], z, unit(centres[rng.integers(0, 30, queries)] + z[:queries])


def filled(ids, z, **options):
    index = make("index", "ivf", **{"cells": CELLS, "probe": PROBE, **options})
    index.add(ids, z)
    return index


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    """The numbers of queries that went cell by cell."""
    counts, real = [], grouped.search_cells
    monkeypatch.setattr(grouped, "search_cells", lambda z, *a, **o: counts.append(len(z)) or real(z, *a, **o))
    return counts


def both(index, queries, k, seen, **options):
    """Hits cell by cell, which must be those of FAISS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivf, "QUERIES_A_CELL", 1e9)
        faiss = index.search(queries, k, **options)
        assert not seen
        patch.setattr(ivf, "QUERIES_A_CELL", 0)
        hits = index.search(queries, k, **options)
        assert seen and seen[0] == len(queries)
    seen.clear()
    np.testing.assert_array_equal(hits.ids, faiss.ids)
    np.testing.assert_allclose(hits.scores, faiss.scores, atol=1e-6)
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    return hits


def test_many_queries_go_cell_by_cell_and_few_do_not(seen):
    ids, z, queries = world()
    index = filled(ids, z)
    few = [index.search(queries[i : i + 40], K) for i in range(0, len(queries), 40)]
    assert not seen
    many = index.search(queries, K)
    assert seen == [len(queries)]
    np.testing.assert_array_equal(many.ids, np.concatenate([h.ids for h in few]))


def test_both_ways_find_the_same(seen):
    ids, z, queries = world()
    hits = both(filled(ids, z), queries, K, seen)
    exact = make("index", "exact")
    exact.add(ids, z)
    found = exact.search(queries, K).ids
    shares = [len(set(a) & set(b)) / K for a, b in zip(hits.ids.tolist(), found.tolist(), strict=True)]
    assert 0.5 < np.mean(shares) < 1, "cells that are not looked into must cost something here"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_both_ways_filter(seen, share):
    ids, z, queries = world(n=4000, seed=1)
    chosen = set(np.asarray(ids)[np.random.default_rng(0).random(len(ids)) < share])
    hits = both(filled(ids, z), queries, K, seen, filter=chosen)
    assert set(hits.ids.ravel().tolist()) <= chosen and (hits.ids != "").all()


def test_both_ways_after_items_went_and_came(seen, tmp_path):
    ids, z, queries = world(seed=2)
    index = filled(ids[:1500], z[:1500])
    both(index, queries, K, seen)
    index.delete(ids[:100])
    hits = both(index, queries, K, seen)
    assert not set(hits.ids.ravel().tolist()) & set(ids[:100])
    index.add(ids[1500:], z[1500:])
    hits = both(index, queries, K, seen)
    assert set(hits.ids.ravel().tolist()) & set(ids[1500:])
    index.delete(ids[100:700])
    after = both(index, queries, K, seen)
    index.save(tmp_path)
    loaded = make("index", "ivf", cells=CELLS, probe=PROBE).load(tmp_path)
    again = both(loaded, queries, K, seen)
    assert (again.ids == after.ids).all() and (again.scores == after.scores).all()


def test_both_ways_order_items_with_one_vector_by_id(seen):
    ids, z, queries = world(seed=3)
    z[500:515] = z[3]
    queries[:5] = z[3]
    hits = both(filled(ids, z), queries, K, seen)
    group = sorted([ids[3], *ids[500:515]])
    assert hits.ids[0, :16].tolist() == group and len(set(hits.scores[0, :16].tolist())) == 1


def test_of_more_equal_items_than_are_asked_for_the_first_by_id_are_found(seen):
    ids, z, queries = world(seed=4)
    z[500:900] = z[3]
    queries[:] = z[3]
    hits = filled(ids, z).search(queries, K)
    assert seen == [len(queries)]
    assert (hits.ids == np.asarray(sorted([ids[3], *ids[500:900]])[:K])).all()


def test_both_ways_look_on_where_the_cells_hold_too_few(seen):
    ids, z, queries = world(n=1600, seed=5)
    hits = both(filled(ids, z, cells=40, probe=2), queries, 190, seen)
    assert hits.ids.shape == (200, 190) and (hits.ids != "").all()


def test_more_than_there_is(seen):
    ids, z, queries = world(n=200, seed=6)
    hits = filled(ids, z, cells=5, probe=1).search(queries, 500)
    assert hits.ids.shape == (len(queries), 200)
    assert all(set(row) == set(ids) for row in hits.ids.tolist())


@pytest.mark.parametrize(("group", "look"), [(700, 2_000_000), (1_000_000, 1), (700, 9000), (40_000, 40_000)])
def test_the_size_of_buffers_does_not_count(seen, monkeypatch, group, look):
    ids, z, queries = world(seed=7)
    z[:600] = unit(z[:1] + 0.05 * z[:600])
    index = filled(ids, z)
    before = both(index, queries, K, seen)
    monkeypatch.setattr(grouped, "NUMBERS_A_GROUP", group)
    monkeypatch.setattr(grouped, "NUMBERS_A_LOOK", look)
    after = index.search(queries, K)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)
