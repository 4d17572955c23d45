"""A run with an index of several vectors an item: built, searched by words, exchanged; refused where it cannot be."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tellapart.core.errors import PartError, TellapartError
from tellapart.core.parts import make
from tellapart.core.progress import Silence
from tellapart.engine import tokens
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.server.service import Service

THINGS = ("apple", "bridge", "candle", "drum", "engine", "feather", "glove", "hammer", "island", "jacket")
SAID = ("a red {} on a table", "where to buy an old {}", "how a {} is made by hand")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    at = tmp_path_factory.mktemp("tokens")
    rows = [
        {"anchor": said.format(thing), "positive": f"{thing}: {said.format(thing)}, seen in place number {n}"}
        for n, (thing, said) in enumerate((t, s) for t in THINGS for s in SAID)
    ]
    (at / "texts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    recipe = Recipe(index="muvera(candidates=30)", epochs=1, batch_size=16)
    run(at / "texts.jsonl", recipe=recipe, out=at / "run", cache=at / "cache", stages=Silence())
    return at / "run"


def test_the_run_holds_both_indexes_and_reports_the_recall(folder) -> None:
    held = json.loads((folder / "report.json").read_text())
    figures = {b["name"]: b["value"] for b in held["blocks"] if b.get("block") == "figure"}
    assert figures["recall@10 of muvera"] == 1.0
    assert (folder / "index").is_dir() and len(tokens.open_tokens(folder)) == 30


def test_words_are_answered_by_maxsim_in_the_space_of_the_head(folder) -> None:
    service = Service(folder)
    found = service.search("an old drum", k=5)
    assert any("word pieces" in note for note in found.notes)
    encoder = service.model.encoders["text"]
    query = service.model.project("query", encoder.encode_tokens(["an old drum"])[0])
    texts = service.collection.values("positive")
    scores = [
        float((query @ service.model.project("document", t).T).max(1).mean()) for t in encoder.encode_tokens(texts)
    ]
    best = np.argsort(-np.asarray(scores))[:5]
    assert {r.id for r in found.results} == set(service.collection.ids[best].tolist())
    np.testing.assert_allclose([r.score for r in found.results], np.asarray(scores)[best], atol=2e-3)
    assert all(r.probability is None for r in found.results)


def test_examples_are_still_answered_by_single_vectors(folder) -> None:
    service = Service(folder)
    first = str(service.collection.ids[0])
    found = service.search(like=[first], k=3)
    assert found.results and not any("word pieces" in note for note in found.notes)


def test_word_pieces_of_what_came_and_went_while_serving(folder, tmp_path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    service = Service(tmp_path / "run")
    before = service.search("an old drum", k=30).results
    twin = service.collection.item(before[0].id)["positive"]
    service.live.put("twin", {"positive": twin})
    service.live.put(before[0].id, {"positive": "a glove"})
    service.live.delete(before[1].id)
    now = service.search("an old drum", k=30)
    assert now.results[0].id == "twin" and now.results[0].score == pytest.approx(before[0].score, abs=1e-3)
    assert len(now.results) == 30 and before[1].id not in {r.id for r in now.results} and len(now.notes) == 1
    some = ["twin", before[2].id]
    found = service.search("an old drum", k=30, where={"id": some}).results
    assert [r.id for r in found] == some
    service.live.fold()
    assert Service(tmp_path / "run").search("an old drum", k=3).results[0].id == "twin"


def test_the_index_named_last_is_the_one_that_answers(folder) -> None:
    from typer.testing import CliRunner

    from tellapart.cli import app

    def call(*words: str) -> None:
        done = CliRunner().invoke(app([*words]), [*words])
        assert done.exit_code == 0, done.output

    call("index", "exact", "--run", str(folder))
    assert tokens.open_tokens(folder) is None
    assert not any("word pieces" in note for note in Service(folder).search("an old drum", k=3).notes)
    call("index", "maxsim", "--run", str(folder))
    assert any("word pieces" in note for note in Service(folder).search("an old drum", k=3).notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": "mlp-head"}, "not linear"),
        ({"text": "sentence-transformer"}, "use .*minilm"),
    ],
)
def test_what_has_no_token_vectors_is_refused_before_anything_is_trained(folder, changes, said) -> None:
    with pytest.raises(PartError, match=said):
        run(folder.parent / "texts.jsonl", recipe=Recipe(index="maxsim", **changes), out=folder.parent / "other")
    assert not (folder.parent / "other" / "model").exists()


def test_pictures_are_refused() -> None:
    from tellapart.core.collection import Side, Sides

    sides = Sides(Side("caption", "text"), Side("image", "image"), None)
    with pytest.raises(PartError, match="are images"):
        tokens.check_tokens("muvera", "minilm", "linear-head", sides)


def test_a_damaged_folder_is_said(folder, tmp_path) -> None:
    (tmp_path / tokens.FOLDER).mkdir()
    with pytest.raises(TellapartError, match="no saved index"):
        tokens.open_tokens(tmp_path)
    index = make("index", "exact")
    index.add(["a"], np.ones((1, 3), np.float32))
    index.save(tmp_path / tokens.FOLDER)
    with pytest.raises(TellapartError, match="several vectors"):
        tokens.open_tokens(tmp_path)
