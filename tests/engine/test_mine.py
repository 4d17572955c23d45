from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.engine.evaluate import Relevant
from tellapart.engine.mine import RULES, mine, summary
from tellapart.engine.mined_rows import write


def unit(rng, n, d=16):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


class Rated:
    """A scorer of pairs that looks them up."""

    name = "a table"

    def __init__(self, scores):
        self.scores, self.calls = scores, 0

    def __call__(self, queries, documents):
        self.calls += len(queries)
        return self.scores[queries, documents]


def world(seed=0, n=40, m=90):
    """Queries, documents and all that is known of them; query i and document i are one item."""
    rng = np.random.default_rng(seed)
    q, k = unit(rng, n), unit(rng, m)
    k[:n] = q + 0.6 * unit(rng, n)
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    positives = [sorted({i, *rng.choice(m, 2).tolist()}) if i % 5 else [] for i in range(n)]
    query_groups, document_groups = rng.integers(-1, 12, n), rng.integers(-1, 12, m)
    return {
        "q": q,
        "k": k,
        "query_ids": [f"q{i}" if i % 3 else f"d{i}" for i in range(n)],
        "document_ids": [f"d{i}" for i in range(m)],
        "query_groups": query_groups,
        "document_groups": document_groups,
        "positives": positives,
        "guide_q": unit(rng, n, 8),
        "guide_k": unit(rng, m, 8),
        "check": Rated(rng.standard_normal((n, m)).astype(np.float32)),
        "marks": [("q1", "d70", "same"), ("q2", "d2", "different"), ("q4", "d80", "different"), ("q4", "d81", "same")],
    }


def plainly(w, depth, keep, margin, use_guide=True):
    """The rules by loops, one pair at a time."""
    q, k = w["q"].astype(np.float64), w["k"].astype(np.float64)
    gq, gk = w["guide_q"].astype(np.float64), w["guide_k"].astype(np.float64)
    marks = {(a, b): said for a, b, said in w["marks"]}
    rows = []
    for i in range(len(q)):
        order = sorted(range(len(k)), key=lambda j, i=i: -(q[i] @ k[j]))[:depth]
        own = [p for p in w["positives"][i] if w["document_ids"][p] != w["query_ids"][i]]
        bar = min((q[i] @ k[p] for p in own), default=None)
        guide_bar = min((gq[i] @ gk[p] for p in own), default=None)
        weakest = min(own, key=lambda p, i=i: q[i] @ k[p], default=None)
        groups = {w["query_groups"][i], *(w["document_groups"][p] for p in w["positives"][i])} - {-1}
        given = 0
        for rank, j in enumerate(order, 1):
            s, g, guide, rated = q[i] @ k[j], gq[i] @ gk[j], None, None
            said = marks.get((w["query_ids"][i], w["document_ids"][j]))
            if said == "same":
                rule = "mark"
            elif w["query_ids"][i] == w["document_ids"][j]:
                rule = "self"
            elif j in w["positives"][i]:
                rule = "positive"
            elif w["document_groups"][j] in groups:
                rule = "group"
            elif said != "different" and margin is not None and bar is not None and s > bar - abs(bar) * margin:
                rule = "margin"
            else:
                rule = None
                if said != "different" and use_guide:
                    guide = g
                    if guide_bar is not None and g > guide_bar:
                        rule = "guide"
            if rule is None:
                given += 1
                rule = "kept" if given <= keep else "beyond"
                if rule == "kept" and said != "different":
                    rated = w["check"].scores[i, j]
                    if weakest is not None and rated > w["check"].scores[i, weakest]:
                        rule = "check"
            rows.append((i, j, s, rank, rule, rule == "kept", guide, rated))
    return rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("margin", "keep", "block"), [(0.05, 3, 2048), (None, 100, 7), (0.0, 1, 40), (1.5, 5, 16)])
def test_rules_agree_with_loops(seed, margin, keep, block):
    w = world(seed)
    table = mine(**w, depth=30, keep=keep, margin=margin, block=block)
    wanted = plainly(w, 30, keep, margin)
    assert len(table) == len(wanted)
    for row, (query, document, score, rank, rule, kept, guide, rated) in zip(table.to_pylist(), wanted, strict=True):
        assert (row["query"], row["document"], row["rank"]) == (query, document, rank)
        assert (row["rule"], row["kept"]) == (rule, kept), row
        assert row["score"] == pytest.approx(score, abs=1e-6)
        assert (row["guide"] is None) == (guide is None)
        assert guide is None or row["guide"] == pytest.approx(guide, abs=1e-6)
        assert row["check"] == rated
    assert {r[4] for r in wanted} >= {"self", "positive", "group"}


def test_a_check_is_asked_about_the_kept_few_and_one_positive_each():
    w = world()
    table = mine(**w, depth=30, keep=3)
    asked = table.filter(pa.compute.is_valid(table["check"]))
    assert w["check"].calls <= len(asked) + len(w["q"])
    assert len(asked) <= 3 * len(w["q"])


def test_a_check_that_gives_something_else_is_refused(tmp_path):
    w = world() | {"check": lambda queries, documents: np.full(len(queries), np.nan)}
    with pytest.raises(DataError, match="finite score for each"):
        mine(**w)
    with pytest.raises(DataError, match="attribute `name`"):
        mine(**w, folder=tmp_path)


def test_every_rule_occurs_in_the_test_world():
    seen = {r[4] for s in range(3) for r in plainly(world(s), 30, 3, 0.05)}
    assert seen == set(RULES)


def bare(q, k, positives, **options):
    given = dict.fromkeys(("query_ids", "document_ids", "query_groups", "document_groups"))
    return mine(q, k, **{**given, "positives": positives, **options})


def test_a_negative_positive_score_lowers_the_bar():
    q = np.asarray([[1.0, 0.0]], np.float32)
    k = np.asarray([[-0.6, 0.8], [-0.62, np.sqrt(1 - 0.62**2)], [-0.8, 0.6]], np.float32)
    rules = bare(q, k, [[0]], margin=0.1)["rule"].to_pylist()
    assert rules == ["positive", "margin", "kept"]


def test_the_weakest_of_several_positives_sets_the_bar():
    q = np.asarray([[1.0, 0.0]], np.float32)
    k = np.asarray([[c, np.sqrt(1 - c * c)] for c in (0.9, 0.7, 0.5, 0.4)], np.float32)
    assert bare(q, k, [[0, 2]], margin=0.0)["rule"].to_pylist() == ["positive", "margin", "positive", "kept"]


def test_no_positive_no_margin():
    rng = np.random.default_rng(0)
    table = bare(unit(rng, 2), unit(rng, 5), [[], [1]], margin=1.9, keep=9)
    assert table["rule"].to_pylist()[:5] == ["kept"] * 5


def test_positives_by_target():
    rng = np.random.default_rng(1)
    q, k, a, b = unit(rng, 20), unit(rng, 60), rng.integers(-1, 5, 20), rng.integers(-1, 5, 60)
    lists = [np.flatnonzero(b == t).tolist() if t >= 0 else [] for t in a]
    ids = {"query_ids": range(20), "document_ids": range(60)}
    by_target = bare(q, k, Relevant.by_target(a, b), depth=60, **ids)
    assert by_target.equals(bare(q, k, lists, depth=60, **ids))


def test_summary_counts_are_true():
    w = world(1)
    table = mine(**w, depth=30, keep=3)
    report = summary(table)
    wanted = [r[4] for r in plainly(w, 30, 3, 0.05)]
    assert report.facts["counts"] == {rule: wanted.count(rule) for rule in RULES}
    assert sum(report.facts["counts"].values()) == len(table)
    assert report.facts["queries"] == 40
    none = bare(w["q"], w["k"], [list(range(90))] * 40)
    assert any("40 of 40" in b.text for b in summary(none).blocks if hasattr(b, "text"))


def test_an_index_proposes_and_scores_are_exact():
    rng = np.random.default_rng(2)
    q, k = unit(rng, 30), unit(rng, 400)
    ids = [f"d{i}" for i in range(400)]
    index = make("index", "exact")
    index.add(ids, k)
    given = {"query_ids": [f"q{i}" for i in range(30)], "document_ids": ids}
    by_index, plain = bare(q, k, np.arange(30), index=index, **given), bare(q, k, np.arange(30), **given)
    assert by_index.drop(["score"]).equals(plain.drop(["score"]))
    np.testing.assert_allclose(by_index["score"].to_numpy(), plain["score"].to_numpy(), atol=1e-6)
    index.add(["stranger"], k[:1])
    with pytest.raises(DataError, match="stranger"):
        bare(q, k, np.arange(30), index=index, **given)


class OnlyIds:
    """An index of somebody else, which gives ids alone."""

    def __init__(self, index):
        self.ids, self.search = index.ids, index.search

    def __len__(self):
        return len(self.ids)


def test_an_index_that_gives_ids_alone_will_do():
    rng = np.random.default_rng(2)
    q, k = unit(rng, 30), unit(rng, 400)
    ids = [f"d{i}" for i in range(400)]
    index = make("index", "exact")
    index.add(ids[::-1], k[::-1])
    index.delete(ids[:350:3])
    given = {"query_ids": [f"q{i}" for i in range(30)], "document_ids": ids, "depth": 20}
    table = bare(q, k, np.arange(30), index=index, **given)
    assert not set(table["document"].to_pylist()) & set(range(0, 350, 3))
    assert bare(q, k, np.arange(30), index=OnlyIds(index), **given).equals(table)


def test_how_positives_are_looked_up_does_not_count(monkeypatch):
    w = world(5)
    plain = mine(**w, depth=30)
    targets = np.random.default_rng(0).integers(-1, 9, 130)
    by_target = {**w, "positives": Relevant.by_target(targets[:40], targets[40:])}
    whole = mine(**by_target, depth=30)
    monkeypatch.setattr("tellapart.engine.mine.COMPARED_ONE_BY_ONE", 0)
    monkeypatch.setattr("tellapart.engine.mine.ROWS_A_BATCH", 7)
    assert mine(**w, depth=30).equals(plain)
    assert mine(**by_target, depth=30).equals(whole)
    written = [np.flatnonzero((targets[40:] == t) & (t >= 0)).tolist() for t in targets[:40]]
    assert mine(**{**w, "positives": written}, depth=30).equals(whole)


def test_a_folder_gives_the_same_table_and_is_read_when_it_is_there(tmp_path):
    w, seen = world(3), []
    first = mine(**w, block=8, folder=tmp_path)
    assert first.equals(mine(**w, block=8))
    files = sorted(tmp_path.rglob("*.arrow"))
    before = {f: f.stat().st_mtime_ns for f in files}
    files[2].unlink()
    again = mine(**w, block=8, folder=tmp_path, progress=lambda done, total: seen.append(done))
    assert again.equals(first) and seen == [8, 16, 24, 32, 40]
    assert {f for f in files if f.stat().st_mtime_ns != before[f]} == {files[2]}


def test_other_vectors_or_options_never_meet_old_blocks(tmp_path):
    w = world(4)
    mine(**w, block=8, folder=tmp_path)
    for change in ({"keep": 1}, {"k": w["k"][::-1].copy()}, {"marks": []}, {"positives": [[0]] * 40}):
        changed = {**w, **change}
        assert mine(**changed, block=8, folder=tmp_path).equals(mine(**changed, block=8))


JOB = """
import sys, numpy as np
from tellapart.engine.mine import mine
z = np.load(sys.argv[1])
none = dict.fromkeys(("query_ids", "document_ids", "query_groups", "document_groups"))
mine(z, z, **{**none, "query_ids": range(len(z)), "document_ids": range(len(z))}, positives=np.arange(len(z)),
     depth=20, block=64, folder=sys.argv[2])
"""


@pytest.mark.processes
def test_killed_at_any_point_it_ends_with_the_same_bits(tmp_path):
    z = unit(np.random.default_rng(0), 4000, 32)
    np.save(tmp_path / "z.npy", z)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", JOB, tmp_path / "z.npy", folder], env=environment)

    assert start(tmp_path / "whole").wait() == 0
    rng = np.random.default_rng(1)
    killed = 0
    for _ in range(200):
        job, blocks = start(tmp_path / "killed"), len(list((tmp_path / "killed").rglob("block-*.arrow")))
        until = blocks + int(rng.integers(1, 25))
        while job.poll() is None and len(list((tmp_path / "killed").rglob("block-*.arrow"))) < until:
            time.sleep(0.001)
        if job.poll() is not None:
            assert job.wait() == 0
            break
        time.sleep(float(rng.uniform(0, 0.005)))
        job.send_signal(signal.SIGKILL)
        killed += job.wait() == -signal.SIGKILL
    assert killed >= 2
    whole = {f.relative_to(tmp_path / "whole"): f.read_bytes() for f in (tmp_path / "whole").rglob("block-*.arrow")}
    again = {f.relative_to(tmp_path / "killed"): f.read_bytes() for f in (tmp_path / "killed").rglob("block-*.arrow")}
    assert whole == again and len(whole) == 63


def values(prefix, n):
    return pa.array([f"{prefix}{i}" for i in range(n)])


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize("by_target", [False, True])
def test_writers_give_the_rows_of_plain_loops(tmp_path, suffix, by_target, monkeypatch):
    monkeypatch.setattr("tellapart.engine.mined_rows.ROWS_A_BATCH", 17)
    rng = np.random.default_rng(5)
    q, k, a, b = unit(rng, 12), unit(rng, 50), np.arange(12) % 9, rng.integers(0, 9, 50)
    lists = [np.flatnonzero(b == t).tolist() for t in a]
    given = Relevant.by_target(a, b) if by_target else lists
    table = bare(q, k, given, depth=50, keep=3, margin=0.3)
    kept = {i: [] for i in range(12)}
    for row in table.to_pylist():
        if row["kept"]:
            kept[row["query"]].append(row["document"])
    wanted = {
        "triplet": [
            {"anchor": f"q{i}", "positive": f"d{p}", "negative": f"d{n}"}
            for i in kept
            for n in kept[i]
            for p in lists[i]
        ],
        "n-tuple": [
            {"anchor": f"q{i}", "positive": f"d{p}", "negative_1": f"d{kept[i][0]}", "negative_2": f"d{kept[i][1]}"}
            for i in kept
            if len(kept[i]) >= 2
            for p in lists[i]
        ],
        "labeled-pair": [
            {"anchor": f"q{i}", "positive": f"d{j}", "label": label}
            for i in kept
            if kept[i]
            for j, label in [*((p, 1) for p in lists[i]), *((n, 0) for n in kept[i])]
        ],
    }
    for form, rows in wanted.items():
        file = tmp_path / f"{form}{suffix}"
        count = write(table, file, values("q", 12), values("d", 50), given, form=form, negatives=2)
        if suffix == ".parquet":
            found = pq.read_table(file).to_pylist()
        else:
            found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert found == rows and count == len(rows) > 0
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


def test_memory_is_bounded_by_the_block(tmp_path):
    import tracemalloc

    z = unit(np.random.default_rng(0), 6000)
    tracemalloc.start()
    bare(z, z, np.arange(6000), depth=10, block=64, folder=tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000 < z.shape[0] ** 2


def test_bad_input_is_refused_in_words(tmp_path):
    rng = np.random.default_rng(0)
    q, k = unit(rng, 4), unit(rng, 6)
    ids = {"query_ids": list("abcd"), "document_ids": list("uvwxyz")}
    for options, words in (
        ({"depth": 0}, "depth=0"),
        ({"margin": -1}, "margin"),
        ({"guide_q": q}, "both sides"),
        ({"guide_q": q, "guide_k": unit(rng, 5)}, "guide"),
        ({"query_ids": range(4)}, "for neither"),
        ({**ids, "document_ids": ["a"]}, "do not fit"),
        ({"marks": [("a", "u", "same")]}, "marks name ids"),
        ({**ids, "marks": [("a", "u", "perhaps")]}, "perhaps"),
        ({**ids, "marks": [("a", "?", "same")]}, "not there"),
        ({**ids, "marks": [("a", "u", "same"), ("a", "u", "different")]}, "both"),
        ({"index": make("index", "exact")}, "document_ids"),
    ):
        with pytest.raises(DataError, match=words):
            bare(q, k, np.arange(4), **options)
    with pytest.raises(DataError, match="outside"):
        bare(q, k, np.asarray([0, 1, 2, 6]))
    table = bare(q, k, np.arange(4))
    with pytest.raises(DataError, match="form"):
        write(table, tmp_path / "x.jsonl", values("q", 4), values("d", 6), np.arange(4), form="quadruple")
    with pytest.raises(DataError, match="parquet"):
        write(table, tmp_path / "x.csv", values("q", 4), values("d", 6), np.arange(4))
    with pytest.raises(DataError, match="lower the margin"):
        write(table, tmp_path / "x.jsonl", values("q", 4), values("d", 6), np.arange(4), form="n-tuple", negatives=9)
    assert not list(tmp_path.iterdir())
