from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.engine.indexing import build, measure, open_index, report_of


def world(n=1500, d=64, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(40, d))[rng.integers(0, 40, n)] + rng.normal(size=(n, d))
    return [f"i{i}" for i in range(n)], (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("spec", ["exact", "sign-bits", "hnsw(width=32)", "ivf(cells=16, probe=2)", "rabitq"])
def test_builds_measures_and_opens_the_same(tmp_path, spec):
    ids, z = world()
    seen = []
    index, report = build(spec, ids, z, tmp_path, progress=lambda done, total: seen.append((done, total)))
    recall = report.figure("recall@10")
    assert recall.count == 200 and 0.3 < recall.low <= recall.value <= 1
    assert spec != "exact" or recall.value == 1
    assert "probe=2" not in spec or recall.value < 0.99
    assert seen[-1] == (1500, 1500)
    opened = open_index(tmp_path)
    assert opened.options == index.options and type(opened) is type(index)
    assert (opened.search(z[:50], 5).ids == index.search(z[:50], 5).ids).all()
    assert report_of(tmp_path).figure("recall@10") == recall


def test_recall_is_measured_on_items_that_are_not_in_the_index_yet(tmp_path):
    ids, z = world()
    _, report = build("ivf(cells=16, probe=1)", ids, z, tmp_path)
    held = np.sort(np.random.default_rng(0).choice(1500, 200, replace=False))
    rest = np.setdiff1d(np.arange(1500), held)
    again = make("index", "ivf(cells=16, probe=1)")
    again.add(np.asarray(ids, object)[rest], z[rest])
    truth = z[held] @ z[rest].T
    found = again.search(z[held], 10).ids
    best = [{ids[rest[j]] for j in row} for row in np.argsort(-truth, axis=1)[:, :10]]
    shares = [len(b & set(f)) / 10 for b, f in zip(best, found.tolist(), strict=True)]
    assert report.figure("recall@10").value == pytest.approx(np.mean(shares))
    assert np.mean(shares) < 0.95
    assert any("misses" in b.text for b in report.blocks if hasattr(b, "text"))


def test_recall_is_measured_and_width_chosen_with_the_queries_that_are_given(tmp_path):
    ids, z = world(4000)
    queries = np.random.default_rng(1).normal(size=(300, 64)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    _, by_items = build("ivf", ids, z, tmp_path / "items")
    index, report = build("ivf", ids, z, tmp_path / "queries", queries=queries)
    kept = queries[np.sort(np.random.default_rng(0).permutation(300)[:200])]
    best = [{ids[j] for j in row} for row in np.argsort(-(kept @ z.T), axis=1)[:, :10]]
    shares = [len(b & set(f)) / 10 for b, f in zip(best, index.search(kept, 10).ids.tolist(), strict=True)]
    assert report.figure("recall@10").value == pytest.approx(np.mean(shares)) and np.mean(shares) >= 0.985
    assert report.figure("probe chosen at build").value > by_items.figure("probe chosen at build").value
    assert "held-out queries" in report.figure("recall@10").note
    assert build("ivf", ids, z, tmp_path / "queries", queries=queries)[1].figure("recall@10") == report.figure(
        "recall@10"
    )


def test_the_same_call_again_builds_nothing(tmp_path, monkeypatch):
    ids, z = world(300)
    build("exact", ids, z, tmp_path)
    before = (tmp_path / "current.json").stat().st_mtime_ns
    build("exact", ids, z, tmp_path)
    assert (tmp_path / "current.json").stat().st_mtime_ns == before
    build("exact", ids, -z, tmp_path)
    assert (tmp_path / "current.json").stat().st_mtime_ns != before
    assert open_index(tmp_path).search(-z[:1], 1).ids[0, 0] == "i0"


def test_measure_after_changes_compares_with_what_is_there():
    ids, z = world(600)
    index = make("index", "exact")
    index.add(ids, z)
    index.delete(ids[:100])
    np.testing.assert_array_equal(measure(index, z[:50]), 1)


def test_tiny_collections(tmp_path):
    ids, z = world(3)
    index, report = build("hnsw", ids, z, tmp_path)
    assert len(index) == 3 and report.figure("items in the index").value == 3
    with pytest.raises(KeyError):
        report.figure("recall@10")


JOB = """
import sys, numpy as np
from tellapart.engine.indexing import build
z = np.load(sys.argv[1])
for spec in ("exact", "sign-bits", "hnsw") * 50:
    build(spec, [f"i{i}" for i in range(len(z))], z, sys.argv[2], sample=0)
    print("built", flush=True)
"""


@pytest.mark.processes
def test_killed_at_any_point_the_old_or_the_new_index_is_there(tmp_path):
    ids, z = world(400, 16)
    np.save(tmp_path / "z.npy", z)
    rng = np.random.default_rng(0)
    for _ in range(8):
        command = [sys.executable, "-c", JOB, tmp_path / "z.npy", tmp_path / "index"]
        job = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert job.stdout.readline() == b"built\n"
        time.sleep(float(rng.uniform(0, 0.3)))
        job.send_signal(signal.SIGKILL)
        job.wait()
        job.stdout.close()
        index = open_index(tmp_path / "index")
        assert index.search(z[:20], 1).ids[:, 0].tolist() == ids[:20]
    build("exact", ids, z, tmp_path / "index")
    left = sorted(f.name for f in (tmp_path / "index").iterdir())
    assert len([f for f in left if f.startswith("v")]) == 1 and {"current.json", "index.json"} <= set(left)
    assert not [f for f in left if f.startswith(".writing")]


def test_a_reader_never_sees_half_an_index(tmp_path):
    import threading

    ids, z = world(300, 16)
    wrong, stop = [], threading.Event()
    make_ = lambda sign: (lambda i: (i.add(ids, sign * z), i)[1])(make("index", "exact"))  # noqa: E731
    plus, minus = make_(1), make_(-1)
    plus.save(tmp_path)
    either = [index.search(z[:1], 300).ids.tolist() for index in (plus, minus)]

    def reading():
        while not stop.is_set():
            try:
                assert open_index(tmp_path).search(z[:1], 300).ids.tolist() in either
            except BaseException as error:
                wrong.append(error)
                return

    readers = [threading.Thread(target=reading) for _ in range(2)]
    for thread in readers:
        thread.start()
    for n in range(40):
        (plus, minus)[n % 2].save(tmp_path)
    stop.set()
    for thread in readers:
        thread.join()
    assert not wrong and either[0] != either[1]


def test_damage_is_told_in_words(tmp_path):
    ids, z = world(300)
    build("exact", ids, z, tmp_path)
    with pytest.raises(DataError, match="no saved index"):
        open_index(tmp_path / "elsewhere")
    (version,) = tmp_path.glob("v*")
    whole = (version / "z.npy").read_bytes()
    (version / "z.npy").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="cut short"):
        open_index(tmp_path)
    (version / "z.npy").write_bytes(bytes(len(whole)))
    with pytest.raises(DataError, match="damaged"):
        open_index(tmp_path)
    facts = json.loads((tmp_path / "current.json").read_text())
    for change in ({"version": "../other"}, {"files": {"../../x": 1}}, {"part": "Path"}, {"options": 3}):
        (tmp_path / "current.json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(DataError):
            open_index(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        report_of(tmp_path)


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path, monkeypatch):
    ids, z = world(300)
    build("exact", ids, z, tmp_path)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "open_memmap", full)
    with pytest.raises(DataError, match=r"No space left on device.*untouched"):
        build("sign-bits", ids, -z, tmp_path)
    monkeypatch.undo()
    assert open_index(tmp_path).search(z[:1], 1).ids[0, 0] == "i0"
    assert not list(tmp_path.glob(".writing*"))


def test_bad_input_is_refused_in_words(tmp_path):
    ids, z = world(30)
    with pytest.raises(PartError, match="hnsw"):
        build("hnws", ids, z, tmp_path)
    with pytest.raises(PartError, match="width"):
        build("hnsw(width=-1)", ids, z, tmp_path)
    with pytest.raises(DataError, match="do not fit"):
        build("exact", ids[:3], z, tmp_path)
    z[4] = np.nan
    with pytest.raises(DataError, match="not finite"):
        build("exact", ids, z, tmp_path)
    assert not list(tmp_path.iterdir())
