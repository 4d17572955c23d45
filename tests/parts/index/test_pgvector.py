"""Vectors in a real PostgreSQL: it is stopped, killed and started again, and nothing that was acknowledged is lost."""

from __future__ import annotations

import gc
import json
import signal
import threading
import time

import numpy as np
import psycopg
import pytest

from tellapart.core.errors import BackendAwayError, DataError, PartError
from tellapart.core.parts import make
from tellapart.engine.indexing import build, open_index, report_of

D = 12


def unit(n, seed=0, d=D):
    z = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def names(n, start=0):
    return [f"i{i:04d}" for i in range(start, start + n)]


def tables(postgres):
    with psycopg.connect(postgres.address) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'tellapart%'")
        return {row[0] for row in found}


@pytest.fixture
def index(postgres):
    made = make("index", "pgvector")
    made.add(names(300), unit(300))
    return made


@pytest.fixture
def up(postgres):
    """Whatever a test did to it, the server runs for the next."""
    yield postgres
    postgres.stop()
    postgres.start()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "killed"])
def test_a_database_that_goes_away_and_comes_back(up, index, tmp_path, how):
    index.add(names(50, 300), unit(50, 1))
    index.delete(names(20))
    index.save(tmp_path)
    before = index.search(unit(5, 2), 7)
    index.ready()
    up.stop(how)
    for call in (
        lambda: index.search(unit(5, 2), 7),
        lambda: index.add(["x"], unit(1)),
        lambda: index.delete(["i0100"]),
        lambda: index.ready(),
        lambda: len(index),
        lambda: make("index", "pgvector").load(tmp_path),
    ):
        with pytest.raises(BackendAwayError, match="does not answer"):
            call()
    up.start()
    after = index.search(unit(5, 2), 7)
    assert (after.ids == before.ids).all() and (after.scores == before.scores).all()
    assert len(index) == 330 and len(open_index(tmp_path)) == 330
    up.stop(how)
    up.start()
    index.delete(["i0100"])
    up.stop(how)
    up.start()
    index.add(["i0100"], unit(1, 9))
    assert len(index) == 330


def test_a_database_that_dies_under_queries_and_writes(up, index):
    """Every call is right or refused in words; what add returned from is there afterwards."""
    kept, wrong, stop = [], [], threading.Event()
    truth = index.search(unit(3, 5), 4)

    def read():
        while not stop.is_set():
            try:
                hits = index.search(unit(3, 5), 4, filter=names(300))
                if (hits.ids != truth.ids).any():
                    wrong.append(hits.ids)
            except BackendAwayError:
                time.sleep(0.01)
            except Exception as error:
                wrong.append(error)

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                index.add([f"new {number}"], unit(1, number))
                kept.append(f"new {number}")
            except BackendAwayError:
                time.sleep(0.01)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for how in (signal.SIGQUIT, signal.SIGINT):
        time.sleep(0.2)
        up.stop(how)
        up.start()
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not wrong and kept
    assert len(index.vectors(kept)) == len(kept)


def test_an_add_is_in_whole_or_not_at_all(index, monkeypatch):
    from tellapart.parts.index import _postgres

    z = unit(40, 3)
    monkeypatch.setattr(_postgres.Table, "_check", staticmethod(lambda ids: None))
    with pytest.raises(DataError):
        index.add([*names(39, 290), "zero\0byte"], z)
    assert len(index) == 300 and (index.vectors(names(10, 290)) == unit(300)[290:]).all()


def test_what_the_database_cannot_keep_is_refused(index):
    with pytest.raises(DataError, match="zero byte"):
        index.add(["a\0b"], unit(1))
    with pytest.raises(DataError, match="unknown ids"):
        index.delete(["i0000", "nobody"])
    assert len(index) == 300
    assert index.search(unit(1), 3, filter=["a\0b"]).ids.shape == (1, 0)


def test_odd_ids_come_back_as_they_went(postgres):
    odd = ["it's", 'say "x"', "back\\slash", "new\nline", "{a,b}", "NULL", "ü 🐈", "'; DROP TABLE tellapart; --", " "]
    index = make("index", "pgvector")
    index.add(odd, unit(len(odd)))
    assert sorted(index.ids) == sorted(odd)
    assert index.search(unit(len(odd)), 1, filter=odd).ids[:, 0].tolist() == odd
    index.delete(odd[:4])
    assert set(index.ids) == set(odd[4:])


def test_facts_name_the_table_and_no_password(postgres, index, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_POSTGRES", postgres.address.replace("postgres@", "postgres:secret@"))
    index = make("index", "pgvector", table="glosses")
    index.add(names(20), unit(20))
    index.save(tmp_path)
    facts = json.loads((tmp_path / "current.json").read_text())
    assert "secret" not in json.dumps(facts) and str(postgres.folder) in facts["address"]
    assert facts["name"].startswith("glosses_") and facts["server"].startswith("PostgreSQL 18")
    monkeypatch.delenv("TELLAPART_POSTGRES")
    assert len(open_index(tmp_path)) == 20
    with psycopg.connect(postgres.address) as connection:
        connection.execute(f"DROP TABLE {facts['name']}")
    with pytest.raises(DataError, match="build the index again"):
        open_index(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": "postgresql://me:secret@host/db"}, "PGPASSWORD"),
        ({"address": "nonsense=1"}, "not one of PostgreSQL"),
        ({"table": 'x"; DROP TABLE y'}, "table"),
        ({"table": ""}, "table"),
    ],
)
def test_options_that_cannot_be_meant(options, words):
    with pytest.raises(PartError, match=words):
        make("index", "pgvector", **options)


def test_nobody_there_is_said_in_words(tmp_path):
    index = make("index", "pgvector", address=f"host={tmp_path} dbname=x")
    with pytest.raises(BackendAwayError, match="does not answer"):
        index.add(["a"], unit(1))
    assert len(index) == 0


def test_a_build_leaves_the_served_table_alone_and_old_ones_go(postgres, tmp_path):
    gc.collect()
    start = tables(postgres)
    spec = f"pgvector(address='{postgres.address}')"
    build(spec, names(200), unit(200), tmp_path)
    served = open_index(tmp_path)
    for seed in (1, 2, 3):
        build(spec, names(200), unit(200, seed), tmp_path)
        assert (open_index(tmp_path).vectors(names(200)) == unit(200, seed)).all()
        if seed == 1:
            assert (served.vectors(names(200)) == unit(200)).all(), "who still reads the old one must not be disturbed"
    given_up = make("index", "pgvector")
    given_up.add(["a"], unit(1))
    assert len(tables(postgres) - start) == 3
    del given_up
    gc.collect()
    assert len(tables(postgres) - start) == 2, "the one that is named and the one before"
    assert report_of(tmp_path).facts["part"] == "pgvector"


def test_the_graph_is_used_and_its_width_chosen_at_build(postgres, tmp_path, monkeypatch):
    from tellapart.parts.index import _remote

    monkeypatch.setattr(_remote, "INDEX_FROM", 500)
    z = unit(1500, d=32)
    index, report = build("pgvector(links=4, construction=32)", names(1500), z, tmp_path)
    with psycopg.connect(postgres.address) as connection:
        plans = connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", (index._name,)).fetchall()
    assert any("hnsw" in row[0] for row in plans)
    assert index.chosen["width"] > 64, "a sparse graph must be searched more widely"
    assert open_index(tmp_path).chosen == index.chosen
    assert report.figure("recall@10").value >= 0.9
