"""A run folder with a chain of rank parts: where it orders the hits, what it cuts off, and where it does not apply."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.engine import reorder
from tellapart.engine.reorder import Bank, Chain
from tellapart.engine.scorers import Reading
from tellapart.server import service as service_module
from tellapart.server.search import search

MOVES, CUTS = "inverted-softmax(temperature=0.3)", "cosine-adapter(epochs=5, candidates=30, recall=0.9)"


def ids_of(found):
    return [r.id for r in found.results]


def fitted(service, spec):
    """A chain whose bank asks for red four times as often as for all else, so that what is red is a hub."""
    rows = np.concatenate([np.arange(len(service.collection)), *[np.arange(6)] * 30])
    texts = [service.collection.values("text")[r] for r in rows]
    q = service.model.encode_query(texts)
    k = service.stored(service.collection.ids[rows].tolist())
    ids = service.collection.ids
    bank = Bank(
        q, k, ids[rows].astype(str), np.stack([np.arange(len(rows))] * 2, 1),
        Reading.of(service.collection, rows, "query", "document"),
    )  # fmt: skip
    return Chain(spec).fit(bank, searched=(ids.astype(str), bank.reading))


@pytest.fixture
def open_with(tmp_path, tools):
    """Opens a run of its own whose folder holds this chain."""

    def opened(spec, calibrated=""):
        folder = tools.make_run(tmp_path / str(len(list(tmp_path.iterdir()))))
        if calibrated is None:
            (folder / "model" / "calibration.json").unlink()
        elif calibrated:
            file = folder / "model" / "calibration.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "rank": calibrated}))
        if spec:
            fitted(tools.open_run(folder), spec).save(folder / "rank")
        return tools.open_run(folder)

    return opened


class TestOrder:
    def test_words_are_answered_in_the_order_of_the_chain(self, open_with):
        service = open_with(MOVES)
        found = service.search("red orange", k=8)
        z = service.model.encode_query(["red orange"])
        near = service.index.search(z, 60)
        ranked = service.chain.rank(z, near, lambda ids: service.index.vectors(ids.tolist()))
        assert ids_of(found) == [i for i, _ in ranked[0][:8]]
        assert [r.score for r in found.results] == pytest.approx([s for _, s in ranked[0][:8]], abs=1e-5)
        assert ids_of(found) != [i for i, _ in near[0][:8]], "the chain must move something, or nothing is tested"
        assert (found.ranked, found.notes, found.nothing_here) == (service.chain.spec, (), False)
        assert all(r.passes for r in found.results)

    def test_more_results_begin_with_the_fewer(self, open_with, monkeypatch):
        monkeypatch.setattr(service_module, "POOL", 20)
        service = open_with(MOVES)
        assert ids_of(service.search("red orange", k=20))[:5] == ids_of(service.search("red orange", k=5))
        assert len(service.search("red orange", k=48).results) == 20

    def test_filters_go_before_the_chain(self, open_with):
        service = open_with(MOVES)
        found = service.search("red orange", where={"form": ["star", "ring"]}, k=48)
        assert {i.split("-")[1] for i in ids_of(found)} == {"star", "ring"} and len(found.results) == 20
        assert ids_of(found) == [i for i in ids_of(service.search("red orange", k=60)) if i.endswith(("star", "ring"))]
        assert found.ranked == service.chain.spec

    def test_a_run_without_a_chain_is_as_before(self, open_with):
        service = open_with("")
        assert service.chain is None
        found = service.search("red orange", k=8)
        assert (found.ranked, found.notes) == ("", ()) and found.results[0].probability is not None

    def test_where_it_does_not_apply_a_note_says_so(self, open_with, tools):
        service, other = open_with(MOVES), open_with("")
        image = tools.png(tools.draw("star", tools.COLOURS["red"]))
        for given in (
            {"image": image},
            {"words": "red", "image": image},
            {"words": "red", "like": ["blue-star"]},
            {"words": "red", "unlike": ["blue-star"]},
            {"like": ["blue-star"]},
        ):
            found, by_cosine = service.search(**given), other.search(**given)
            assert found.results == by_cosine.results and found.ranked == ""
            assert any("similarity alone" in note and MOVES in note for note in found.notes), given
            assert not any("similarity alone" in note for note in by_cosine.notes)
        assert "only filters" in service.search(where={"form": "star"}).notes[0]
        assert service.search().notes == () == other.search(where={"form": "star"}).notes

    def test_it_asks_for_no_vector_of_what_the_filters_hide(self, open_with, monkeypatch):
        service = open_with(MOVES)
        asked = []
        stored = service.index.vectors
        monkeypatch.setattr(service.index, "vectors", lambda ids: asked.extend(ids) or stored(ids))
        service.search("red", where={"form": "star"})
        assert {i.split("-")[1] for i in asked} == {"star"} and len(asked) == 10


class TestCutOff:
    def test_what_is_cut_off_is_not_shown(self, open_with):
        service = open_with(CUTS)
        found = service.search("red", k=48)
        assert 1 <= len(found.results) < 48
        assert {i.split("-")[0] for i in ids_of(found)} == {"red"}
        assert all(r.passes for r in found.results) and not found.nothing_here

    @pytest.mark.parametrize("calibrated", [CUTS, None])
    def test_nothing_is_left(self, open_with, calibrated):
        service = open_with(CUTS, calibrated)
        found = service.search("zebra", k=5)
        assert found.nothing_here and found.results == ()
        near = service.index.search(service.model.encode_query(["zebra"]), 5)[0]
        assert [(r.id, r.score, r.probability, r.passes) for r in found.closest] == [
            (i, s, None, False) for i, s in near
        ]
        assert found.ranked == "", "the closest have no score of the chain"

    def test_what_is_left_passes_whatever_the_threshold(self, open_with):
        service = open_with(CUTS, CUTS)
        calibration = service.folder / "model" / "calibration.json"
        kept = json.loads(calibration.read_text())
        kept["threshold"]["value"] = 2.0
        calibration.write_text(json.dumps(kept))
        found = service.search("red")
        assert all(r.passes and r.probability is not None for r in found.results) and not found.nothing_here

    def test_a_cut_and_a_new_order(self, open_with):
        service = open_with(f"{CUTS}|{MOVES}")
        assert service.search("zebra").nothing_here
        left = ids_of(service.search("red orange", k=48))
        assert set(left) == set(ids_of(open_with(CUTS).search("red orange", k=48)))
        assert left == [i for i in ids_of(open_with(MOVES).search("red orange", k=60)) if i in left]


class TestCalibration:
    def test_it_must_be_of_the_scores_that_are_shown(self, open_with):
        for spec, calibrated in ((MOVES, ""), ("", MOVES), (MOVES, CUTS)):
            service = open_with(spec, calibrated)
            assert service.threshold is None
            found = service.search("zebra")
            assert not found.nothing_here and all(r.probability is None and r.passes for r in found.results)

    def test_the_probability_is_of_the_score_after_the_chain(self, open_with):
        service = open_with(MOVES, MOVES)
        found = service.search("red blue", k=60)
        assert [r.probability for r in found.results] == pytest.approx(
            [1 / (1 + np.exp(-12 * r.score + 6)) for r in found.results]
        )
        assert [r.passes for r in found.results] == [r.score >= 0.5 for r in found.results]
        assert {r.passes for r in found.results} == {True, False}


class TestFolder:
    def test_a_damaged_chain_is_said_when_the_run_is_opened(self, open_with, tools):
        folder = open_with(MOVES).folder
        (next((folder / "rank").glob("*.safetensors"))).write_bytes(b"")
        with pytest.raises(DataError, match=r"Make the run again, or delete .*rank"):
            tools.open_run(folder)

    def test_the_version_is_another(self, open_with, tools):
        service = open_with(MOVES)
        before = service.version
        reorder.drop(service.folder / "rank")
        assert tools.open_run(service.folder).version != before

    def test_an_open_run_is_opened_again_when_the_chain_changes(self, open_with, tools, monkeypatch):
        folder = open_with(MOVES).folder
        monkeypatch.setattr("tellapart.server.search.Service", lambda folder: tools.open_run(Path(folder)))
        assert search("red", run=folder).ranked == MOVES
        reorder.drop(folder / "rank")
        assert search("red", run=folder).ranked == ""


class TestApi:
    def test_answers_name_the_chain(self, open_with):
        testclient = pytest.importorskip("fastapi.testclient")
        from tellapart.server.app import create_app

        with testclient.TestClient(create_app(open_with(MOVES))) as client:
            assert client.get("/api/columns").json()["ranked"] == MOVES
            found = client.get("/api/search", params={"words": "red orange", "k": 4}).json()
            assert found["ranked"] == MOVES and len(found["results"]) == 4
            assert client.get("/api/search", params={"like": "red-star"}).json()["ranked"] == ""

    def test_the_terminal_names_it(self, open_with):
        from tellapart.cli.search import _plain

        service = open_with(MOVES)
        assert _plain(service, service.search("red"))["ranked"] == MOVES


class TestScorer:
    def test_a_scorer_is_asked_about_the_items_that_pass(self, open_with):
        from tellapart.engine import scorers

        seen = []

        def blue(queries, documents):
            seen.extend(zip(queries, documents, strict=True))
            return [float(np.asarray(d.convert("RGB"), float)[..., 2].mean()) for d in documents]

        scorers.offer("blueness", blue)
        try:
            service = open_with("anncur(scorer='blueness', calls=12, anchors=8)")
            seen.clear()
            found = service.search("red orange", where={"form": ["star", "ring"]}, k=5)
            assert {q for q, _ in seen} == {"red orange"} and len(seen) == 12
            assert {i.split("-")[1] for i in ids_of(found)} <= {"star", "ring"} and len(found.results) == 5
            assert [r.score for r in found.results] == sorted((r.score for r in found.results), reverse=True)
            blues = {i.split("-")[0] for i in ids_of(service.search("red orange", k=3))}
            assert not blues & {"red", "orange", "yellow", "brown"}, "what the scorer likes comes in from anywhere"
            assert service.search(like=[ids_of(found)[0]], k=3).ranked == ""
        finally:
            scorers._offered.pop("blueness")
