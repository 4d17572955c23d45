"""classify, detect and select on collections that are read from files, with the packaged text encoder."""

from __future__ import annotations

import csv
import json
import tracemalloc

import numpy as np
import pyarrow.parquet
import pytest

from tellapart import apply
from tellapart.core.collection import Collection
from tellapart.core.errors import TellapartError
from tellapart.data.texts import Texts
from tellapart.parts.score import _hashed
from tellapart.recipe import Recipe
from tellapart.run import run

TOPICS = {
    "cooking": ["knead the dough", "salt the soup", "bake a loaf of bread", "fry two eggs", "peel the potatoes"],
    "sailing": ["hoist the sail", "drop the anchor", "steer by the wind", "the boat left port", "tie a bowline knot"],
    "music": ["tune the violin", "the choir sang", "a song in a minor key", "beat the drum", "play the piano softly"],
}
ENDS = [
    "",
    " before noon",
    " once more",
    " with great care",
    " as they had learnt",
    " while it rained",
    " for a friend",
]
SPACE = ["the star exploded", "a telescope in orbit", "the planet has two moons", "light from a distant galaxy"]


def table(file, topics):
    rows = [(f"{topic}-{i}-{j}", text + end, topic) for topic, texts in topics.items()
            for i, text in enumerate(texts) for j, end in enumerate(ENDS)]  # fmt: skip
    with file.open("w", newline="") as sink:
        csv.writer(sink).writerows([("id", "text", "label"), *rows])
    return file


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return table(tmp_path_factory.mktemp("texts") / "texts.csv", TOPICS)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return table(tmp_path_factory.mktemp("new") / "new.csv", {"space": SPACE, "cooking": TOPICS["cooking"][:2]})


@pytest.fixture(scope="module")
def ran(texts, tmp_path_factory):
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("run") / "latest"
    run(texts, out=folder, recipe=Recipe.of({"epochs": 3, "batch_size": 32, "positives": "group"}))
    return folder


def test_classes_are_told_apart_and_measured(texts):
    report = apply.classify(texts, by="label", part="clip-gda")
    ours, common = report.figure("accuracy, clip-gda"), report.figure("accuracy, the commonest class")
    assert ours.value > 0.8 > common.value and ours.count == report.facts["test"] > 5
    assert ours.low <= ours.value <= ours.high
    assert report.facts["train"] + report.facts["test"] < report.facts["items"] == 105
    classes = next(b for b in report.blocks if getattr(b, "title", "").startswith("Classes"))
    assert {row[0] for row in classes.rows} <= set(TOPICS) and all(0 <= row[3] <= 1 for row in classes.rows)
    each = report.figure("balanced accuracy, clip-gda")
    assert (
        each.value == pytest.approx(np.mean([row[3] for row in classes.rows])) and each.low <= each.value <= each.high
    )


def test_balanced_accuracy_is_the_mean_recall_and_its_interval_that_of_the_recalls():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b"], [300, 20])
    right = np.concatenate([rng.random(300) < 0.9, rng.random(20) < 0.4]).astype(float)
    value, each = apply._balanced(right, y)
    assert value == pytest.approx((right[:300].mean() + right[300:].mean()) / 2) == pytest.approx(each.mean())
    drawn = []
    for _ in range(4000):
        rows = rng.integers(320, size=320)
        if (y[rows] == "b").any():
            drawn.append(np.mean([right[rows][y[rows] == c].mean() for c in "ab"]))
    assert each.std() / np.sqrt(320) == pytest.approx(np.std(drawn), rel=0.1)
    assert apply._balanced(np.ones(320), y)[1].tolist() == [1.0] * 320


def test_synthetic_items_help_to_find_a_small_class(texts):
    report = apply.classify(texts, by="label", part="smote(inner='nearest-mean', under=0.5)")
    assert report.figure("balanced accuracy, smote(inner='nearest-mean', under=0.5)").value > 0.8
    with pytest.raises(TellapartError, match="no classify named"):
        apply.classify(texts, by="label", part="smote(inner='nearest-men')")


def test_items_without_a_label_are_shown_to_a_part_that_uses_them(tmp_path):
    file = table(tmp_path / "few.csv", TOPICS)
    rows = list(csv.reader(file.open(newline="")))
    with file.open("w", newline="") as sink:
        csv.writer(sink).writerows([rows[0], *(r if i % 3 == 0 else [*r[:2], ""] for i, r in enumerate(rows[1:]))])
    report = apply.classify(file, by="label", part="opta")
    assert report.facts["items"] == 35 and report.figure("accuracy, opta").value > 0.7
    said = f"opta saw the {report.facts['test']} held-out items and 70 without a label, but no label."
    assert said in [getattr(block, "text", "") for block in report.blocks]
    plain = apply.classify(file, by="label", part="nearest-mean")
    assert plain.facts["items"] == 35 and not any("saw" in getattr(b, "text", "") for b in plain.blocks)


def test_a_run_shows_its_unlabelled_items_too(ran):
    assert apply.classify(ran, by="label", part="opta(passes=2)").figure("accuracy, opta(passes=2)").value > 0.5


def test_a_table_is_classified_by_the_split_that_comes_with_it(tmp_path):
    file = table(tmp_path / "split.csv", TOPICS)
    rows = list(csv.reader(file.open(newline="")))
    with file.open("w", newline="") as sink:
        sides = ["test" if i % 5 == 0 else "validation" if i % 5 == 1 else "train" for i in range(len(rows) - 1)]
        csv.writer(sink).writerows([[*rows[0], "split"], *([*r, s] for r, s in zip(rows[1:], sides, strict=True))])
    report = apply.classify(file, by="label", part="nearest-mean")
    assert report.facts["test"] == sides.count("test") and report.facts["items"] == len(sides)


def test_a_run_is_classified_by_its_own_split(ran):
    report = apply.classify(ran, by="label", part="nearest-mean")
    assert report.figure("accuracy, nearest-mean").value > 0.5
    with pytest.raises(TellapartError, match="own vectors"):
        apply.classify(ran, by="label", encoder="minilm")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "lable"}, "did you mean label"),
        ({"by": "label", "part": "clip-gad"}, "did you mean clip-gda"),
        ({"by": "label", "part": "clip-gda(alpha=-1)"}, "alpha"),
        ({"by": "label", "encoder": "mlp-head"}, "no frozen encoder"),
        ({"by": "label", "column": "txt"}, "did you mean text"),
    ],
)
def test_what_cannot_be_classified_is_said(texts, options, words):
    with pytest.raises(TellapartError, match=words):
        apply.classify(texts, **options)


def test_one_class_or_one_item_a_class_is_refused(tmp_path):
    with pytest.raises(TellapartError, match="1 different labels"):
        apply.classify(table(tmp_path / "one.csv", {"cooking": TOPICS["cooking"]}), by="label")
    with pytest.raises(TellapartError, match="no value of 'id' stands in both"):
        apply.classify(table(tmp_path / "all.csv", TOPICS), by="id")


@pytest.mark.parametrize("score", ["knn(k=2)", "mahalanobis-ood(shrinkage=0.5)", "max-softmax", "hvcm", "energy"])
def test_the_unknown_is_found_and_false_alarms_are_measured(ran, new, tmp_path, score):
    out = tmp_path / "scores.jsonl"
    report = apply.detect(ran, new, score=score, by="label", false_alarms=0.1, out=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 42 and set(rows[0]) == {"id", "score", "unknown"}
    mean = {t: np.mean([r["score"] for r in rows if r["id"].startswith(t)]) for t in ("space", "cooking")}
    assert mean["space"] > mean["cooking"]
    alarms = report.figure("false alarms on held-out items")
    assert 0 <= alarms.value <= 1 and alarms.count > 5
    threshold = report.figure("threshold").value
    assert [r["unknown"] for r in rows] == [r["score"] > threshold for r in rows]
    assert report.figure("unknown share").value == np.mean([r["unknown"] for r in rows])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score": "dsir"}, "does not score what is unknown"),
        ({"score": "knnn"}, "did you mean knn"),
        ({"false_alarms": 0.0}, "between 0 and 1"),
        ({"out": "scores.txt"}, "ends in"),
        ({"out": "nowhere/scores.csv"}, "no folder"),
    ],
)
def test_what_cannot_be_detected_is_said(ran, new, options, words):
    with pytest.raises(TellapartError, match=words):
        apply.detect(ran, new, **options)


def test_a_collection_of_another_kind_is_refused(ran, tmp_path):
    (tmp_path / "pairs.csv").write_text("anchor,positive\na cat,an animal\na dog,an animal\n")
    with pytest.raises(TellapartError, match="the run searches 'text'"):
        apply.detect(ran, tmp_path / "pairs.csv")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_selection_is_like_the_target_and_is_written(texts, tmp_path, suffix):
    like = table(tmp_path / "like.csv", {"sailing": TOPICS["sailing"][:3]})
    out = tmp_path / f"picked{suffix}"
    report = apply.select(texts, like=like, keep="20%", out=out)
    picked = apply.select(texts, like=like, keep="21", seed=0)
    if suffix == ".parquet":
        ids = pyarrow.parquet.read_table(out)["id"].to_pylist()
    elif suffix == ".csv":
        ids = [row["id"] for row in csv.DictReader(out.open())]
    else:
        ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert len(ids) == 21 and np.mean([i.startswith("sailing") for i in ids]) > 0.8
    assert report.figure("kept").value == 0.2 == picked.figure("kept").value
    assert report.figure("nearer to the target than a random selection").value > 0


@pytest.mark.parametrize("score", ["color-filter", "color-filter(ngrams=1)", "dsir(buckets=500)"])
def test_a_selection_by_another_score_is_like_the_target(texts, tmp_path, score):
    like, out = table(tmp_path / "like.csv", {"sailing": TOPICS["sailing"]}), tmp_path / "picked.jsonl"
    report = apply.select(texts, like=like, keep="20%", score=score, out=out)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert np.mean([row["id"].startswith("sailing") for row in written]) > 0.8
    best, worst = (b for b in report.blocks if getattr(b, "columns", []) == ["id", "score", "text"])
    scores, said = {row["id"]: row["score"] for row in written}, {row["id"]: row["text"] for row in written}
    assert all(scores[id_] == pytest.approx(value) and said[id_] == text for id_, value, text in best.rows)
    assert [row[1] for row in best.rows] == sorted(scores.values(), reverse=True)[: len(best.rows)]
    assert not {row[0] for row in worst.rows} & set(scores) and worst.rows[0][1] < best.rows[-1][1]


def test_a_pool_is_selected_from_without_holding_its_texts(tmp_path, monkeypatch):
    """What is allocated at once stays far below the texts, which lie in a file."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(500)])
    pool = Collection.of({"text": [" ".join(rng.choice(words, 300)) for _ in range(1500)]})
    size, folder = sum(map(len, pool.values("text"))), pool.save(tmp_path / "pool")
    like = Collection.of({"text": [" ".join(rng.choice(words[:50], 20)) for _ in range(20)]}).save(tmp_path / "like")
    monkeypatch.setattr(_hashed, "_LETTERS", 30_000)
    monkeypatch.setattr("tellapart.data.texts.TEXTS_A_BLOCK", 64)
    monkeypatch.setattr(apply, "LEFT_OUT", 50)
    options = {"keep": "50", "score": "color-filter(buckets=1000)"}
    apply.select(like, like=like, keep="5", score=options["score"])
    tracemalloc.start()
    report = apply.select(folder, like=like, **options)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 3e6 and most < 0.5 * size, f"{most:.0f} bytes at once for {size} of texts"
    assert [b.title for b in report.blocks if hasattr(b, "title")][-1] == "Least like it, of 50 left out"


def test_texts_are_read_anew_by_blocks(monkeypatch):
    monkeypatch.setattr("tellapart.data.texts.TEXTS_A_BLOCK", 3)
    said = ["a", None, "b", " ", "c", "d", "", "e", "f"]
    found = Texts(Collection.of({"id": list("012345678"), "anchor": said}))
    assert list(found) == list(found) == list("abcdef") and len(found) == 6
    assert list(found.some(np.array([0, 2, 3, 5]))) == ["a", "c", "d", "f"]
    assert found.ids(np.array([5, 1])) == ["8", "2"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": "0%"}, "cannot keep 0"),
        ({"keep": "900"}, "cannot keep 900"),
        ({"keep": "some"}, "a number of items or a share"),
        ({"score": "knn"}, "does not score what is target"),
        ({"column": "txt"}, "did you mean text"),
        ({"out": "picked.xlsx"}, "ends in"),
    ],
)
def test_what_cannot_be_selected_is_said(texts, options, words):
    with pytest.raises(TellapartError, match=words):
        apply.select(texts, like=texts, **options)


def invoke(*arguments):
    from typer.testing import CliRunner

    from tellapart.cli import app

    return CliRunner().invoke(app(arguments), list(arguments))


def test_the_verbs_give_the_same_reports(texts, ran, new, tmp_path):
    said = invoke("classify", str(texts), "--by", "label", "--part", "nearest-mean", "--json")
    figures = {b["name"]: b["value"] for b in json.loads(said.stdout)["blocks"] if b["block"] == "figure"}
    held = apply.classify(texts, by="label", part="nearest-mean")
    assert figures["accuracy, nearest-mean"] == pytest.approx(held.figure("accuracy, nearest-mean").value)
    found = invoke("detect", str(ran), str(new), "--score", "knn", "--json", "--out", str(tmp_path / "all.csv"))
    assert json.loads(found.stdout)["facts"]["new items"] == 42 and (tmp_path / "all.csv").is_file()
    picked = invoke("select", str(texts), "--like", str(new), "--keep", "5", "--json")
    assert json.loads(picked.stdout)["facts"]["pool"] == 105


def test_the_verbs_say_what_is_wrong_in_one_line(texts):
    for arguments in (["classify", str(texts), "--by", "lable"], ["select", str(texts), "--like", "nowhere.csv"]):
        said = invoke(*arguments)
        assert said.exit_code == 2 and "Traceback" not in said.output and said.stderr.startswith("tellapart: ")
