"""Learned sparse search from a run to an answer: what is kept, that no model reads the query, what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.engine import sparse
from tellapart.engine.compatible import check_together
from tellapart.engine.sparse import Cutter, SparseSearch
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.server.service import Service

THINGS = ("valve", "pump", "wheel", "lamp", "chair", "table", "window", "door", "bridge", "rope", "anchor", "drum")
COLOURS = ("red", "green", "blue", "brass")
RECIPE = Recipe(
    strategy="idf-flops(terms=12)", text="minilm(max_tokens=16)", head="linear-head(dim=16)", epochs=4, batch_size=16
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    with file.open("w", newline="") as sink:
        out = csv.writer(sink)
        out.writerow(["id", "anchor", "positive"])
        for a, colour in enumerate(COLOURS):
            for b, thing in enumerate(THINGS):
                out.writerow([f"{colour}-{thing}", f"the {colour} {thing}", f"a {thing} that is {colour}, part {a}{b}"])
    return file


@pytest.fixture(scope="module")
def done(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    report = run(source, out=out, recipe=RECIPE, cache=out / "cache")
    assert any("without running the text model" in str(block) for block in report.blocks)
    return out


def test_words_find_documents_and_no_model_is_run(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a model was asked for")

    monkeypatch.setattr(sparse, "make", refused)
    words = SparseSearch.open(done / sparse.FOLDER)
    hits = words.search("brass anchor", 3)
    assert hits.ids[0, 0] == "brass-anchor"
    assert words.search("brass anchor", 3, filter=["red-bell", "red-anchor"]).ids[0, 0] == "red-anchor"
    assert words.search("", 3).ids.shape == (1, 0)


def test_scores_are_idf_times_weights(done: Path) -> None:
    words = SparseSearch.open(done / sparse.FOLDER)
    texts = ["a drum that is red", "a clock"]
    rows, asked = words.encode_documents(texts), words.encode_queries(["red drum"])
    place = {int(token): at for at, token in enumerate(words.vocabulary)}
    terms = [place[t] for t in words.cutter.query("red drum").tolist()]
    dense = np.zeros((2, len(place)), np.float32)
    dense[rows.row, rows.terms] = rows.weights
    words.index = type(words.index)(len(place))
    words.index.add(["x", "y"], rows)
    hits = dict(words.index.search(asked, 2)[0])
    assert hits["x"] == pytest.approx(float(dense[0, terms] @ words.idf[terms]), rel=1e-5)
    assert hits["x"] > hits.get("y", 0)


def test_documents_can_be_added_and_deleted(done: Path) -> None:
    words = SparseSearch.open(done / sparse.FOLDER)
    words.add(["new"], ["a brass anchor that is brass"])
    words.delete(["brass-anchor"])
    found = words.search("brass anchor", 5).ids[0].tolist()
    assert "new" in found and "brass-anchor" not in found


def test_damage_is_said(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / sparse.FOLDER, tmp_path / "s")
    head = next((tmp_path / "s").glob(f"v*/{sparse.HEAD}"))
    head.write_bytes(bytes(head.stat().st_size))
    with pytest.raises(DataError, match="damaged"):
        SparseSearch.open(tmp_path / "s")


def test_what_cannot_be_weighed_is_refused() -> None:
    with pytest.raises(PartError, match="a vector for each token"):
        Cutter.of(object())
    pairs = Collection.of({"id": ["1", "2"], "anchor": ["a", "b"], "positive": ["c", "d"]})
    check_together(pairs, RECIPE)
    for changes in ({"tune": "lora"}, {"text": "identifiers"}):
        with pytest.raises(PartError, match="text=minilm and tune=head"):
            check_together(pairs, RECIPE.but(**changes))
    pictures = Collection.of({"id": ["1", "2"], "image": [b"", b""], "text": ["c", "d"]})
    with pytest.raises(PartError, match="pairs of texts"):
        check_together(pictures, RECIPE)


def test_documents_that_came_and_went_while_serving(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "run")
    service = Service(tmp_path / "run")
    before = service.search("brass valve", k=2, sparse=True).results
    assert before[0].id == "brass-valve"
    twin = service.collection.item("brass-valve")["positive"]
    service.live.put("twin", {"positive": twin})
    service.live.put("brass-valve", {"positive": "a lamp that is red, part 00"})
    service.live.delete(before[1].id)
    now = service.search("brass valve", k=48, sparse=True)
    assert now.results[0].id == "twin" and now.results[0].score == pytest.approx(before[0].score, rel=1e-5)
    assert before[1].id not in {r.id for r in now.results} and len(now.notes) == 1
    assert service.search("brass valve", k=1, hybrid=True, sparse=True).results[0].id == "twin"


def test_a_run_is_searched_by_them(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(done)
    both = service.search("brass anchor", k=3, hybrid=True, sparse=True)
    assert both.results[0].id == "brass-anchor" and both.ranked == "reciprocal rank fusion"
    with pytest.raises(DataError, match="words alone"):
        service.search("brass anchor", like=["red-lamp"], sparse=True)
    assert any("No words" in note for note in service.search(like=["red-lamp"], sparse=True).notes)

    def refused(*_: object) -> None:
        raise AssertionError("the text model was run")

    monkeypatch.setattr(service.asking, "vector", refused)
    found = service.search("brass anchor", k=3, sparse=True)
    assert found.results[0].id == "brass-anchor" and found.results[0].probability is None
    assert found.ranked == "learned weights of words" and "no model read the query" in found.notes[0]
    shutil.rmtree(done / sparse.FOLDER)
    with pytest.raises(DataError, match="strategy=idf-flops"):
        Service(done).search("brass anchor", sparse=True)
