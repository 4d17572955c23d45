"""One history of every operation on every backend and on the exact index: the same ids, the same scores."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import TellapartError
from tellapart.core.parts import make
from tellapart.engine.indexing import build, open_index, report_of

D, STEPS = 16, 18
WIDE = {
    "lancedb": {"width": 600, "refine": 20},
    "qdrant": {"width": 600},
    "pgvector": {"width": 600},
    "hnsw": {"width": 600},
    "ivf": {"probe": 10_000},
    "rabitq": {"probe": 10_000, "oversample": 100},
    "sign-bits": {"oversample": 1000},
    "faiss": {"factory": "HNSW32,Flat", "parameters": "efSearch=600"},
}


def unit(rng, n):
    z = rng.normal(size=(n, D)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def same(index, exact, z, k, **options):
    """What both find, compared to the bit."""
    mine, true = index.search(z, k, **options), exact.search(z, k, **options)
    assert mine.ids.shape == true.ids.shape
    np.testing.assert_array_equal(mine.scores, true.scores)
    np.testing.assert_array_equal(mine.ids, true.ids)


def both(index, exact, call):
    """Both do it, or both refuse it in words."""
    refused = []
    for one in (index, exact):
        try:
            call(one)
            refused.append(False)
        except TellapartError:
            refused.append(True)
    assert refused[0] == refused[1]
    return refused[0]


@pytest.mark.parametrize(("name", "graph_from"), [*((n, 300) for n in WIDE), *((n, 10_000) for n in list(WIDE)[:3])])
def test_any_history_finds_what_the_exact_index_finds(request, tmp_path, monkeypatch, name, graph_from):
    if name == "pgvector":
        request.getfixturevalue("postgres")
    from tellapart.parts.index import _remote

    monkeypatch.setattr(_remote, "INDEX_FROM", graph_from)
    monkeypatch.setattr(_remote, "MOST_PUSHED", 350)
    rng = np.random.default_rng(len(name) + graph_from)
    names = [f"it's {i:04d}" for i in range(700)]
    index, exact = make("index", name, **WIDE[name]), make("index", "exact")
    done = set()
    for step in range(STEPS):
        verb = (
            "add"
            if step < 2
            else ["add", "replace", "delete", "save", "wrong", "search", "filter", "exactly"][step % 8]
        )
        done.add(verb)
        some = rng.choice(names, rng.integers(20, 250), replace=False).tolist()
        here = [i for i in some if i in set(exact.ids)]
        z = unit(rng, len(some))
        if verb == "add":
            both(index, exact, lambda one, some=some, z=z: one.add(some, z))
        elif verb == "replace":
            both(
                index,
                exact,
                lambda one, here=here, step=step: one.add(here, unit(np.random.default_rng(1000 + step), len(here))),
            )
        elif verb == "delete":
            both(index, exact, lambda one, here=here: one.delete(here[: len(here) // 2]))
        elif verb == "save":
            index.save(tmp_path / "x")
            index = open_index(tmp_path / "x")
        elif verb == "wrong":
            hole = z.copy()
            hole[0, 0] = np.nan
            assert both(index, exact, lambda one, some=some, hole=hole: one.add(some, hole))
            assert both(index, exact, lambda one, some=some: one.delete([*some, "nobody"]))
            assert both(index, exact, lambda one: one.search(np.zeros((1, D)), 3))
            assert both(index, exact, lambda one, z=z: one.search(z[:, :5], 3))
            assert both(index, exact, lambda one: one.vectors(["nobody"]))
        assert len(index) == len(exact) and set(index.ids) == set(exact.ids)
        for k in (1, 10, 900) if verb == "search" else (7,):
            same(index, exact, unit(rng, 3), k)
        if verb == "filter":
            for share in (0.05, 0.45, 0.8):
                chosen = {i for i in names if rng.random() < share}
                same(index, exact, unit(rng, 3), 5, filter=chosen)
                same(
                    index, exact, unit(rng, 3), 5, filter=lambda ids, c=chosen: np.asarray([i in c for i in ids], bool)
                )
        if verb == "exactly":
            mine, true = index.search_exactly(z[:3], 9), exact.search_exactly(z[:3], 9)
            assert (mine.ids == true.ids).all() and (mine.scores == true.scores).all()
            np.testing.assert_array_equal(index.vectors(here[::-1]), exact.vectors(here[::-1]))
    assert done == {"add", "replace", "delete", "save", "wrong", "search", "filter", "exactly"}


@pytest.mark.parametrize("spec", ["lancedb", "qdrant"])
def test_who_reads_is_not_disturbed_by_the_next_build(tmp_path, spec):
    rng = np.random.default_rng(0)
    ids, z, other = [f"i{i}" for i in range(120)], unit(rng, 120), unit(rng, 120)
    build(spec, ids, z, tmp_path)
    reader = open_index(tmp_path)
    reader.add(["mine alone"], unit(rng, 1))
    build(spec, ids, other, tmp_path)
    np.testing.assert_array_equal(reader.vectors(ids), z)
    np.testing.assert_array_equal(open_index(tmp_path).vectors(ids), other)
    assert len(reader) == 121 and len(open_index(tmp_path)) == 120
    assert report_of(tmp_path).figure("recall@10").value == 1


def test_lancedb_in_a_place_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    ids, z = [f"i{i}" for i in range(120)], unit(rng, 120)
    spec = f"lancedb(uri='{tmp_path / 'store'}', table='glosses')"
    for seed in range(3):
        index, _ = build(spec, ids, z * (1 + seed), tmp_path / "run")
    assert len(list((tmp_path / "store").glob("glosses_*.lance"))) == 2, "the one that is named and the one before"
    index.add(["new"], -z[:1])
    assert open_index(tmp_path / "run").search(-z[:1], 1).ids[0, 0] == "new", "changes are kept at once there"
    assert not list((tmp_path / "run").rglob("*.lance"))
