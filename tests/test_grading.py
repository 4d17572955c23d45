"""`tellapart grade` on pictures whose grades are known: how light they are, and how like two of them are."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from typer.testing import CliRunner

from tellapart import cli
from tellapart.core.collection import Collection
from tellapart.core.errors import TellapartError
from tellapart.data.identity import curate
from tellapart.data.sources import read
from tellapart.engine.model import Model
from tellapart.grading import grade, graded, grades_of, rank_correlation

N, WITHOUT = 70, 20
SEES = ("colour-histogram",)


def picture(light, rng):
    return Image.fromarray(np.clip(rng.normal(light, 20, (12, 12, 3)), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures from dark to light, graded 1 to 5 by that but for the last ones; `luck` is a grade of nothing."""
    made, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    light = rng.uniform(30, 220, N)
    rows = []
    for i, value in enumerate(light):
        picture(value, rng).save(made / f"{i}.png")
        picture(value + (i % 5) * 20, rng).save(made / f"{i}b.png")
        known = i < N - WITHOUT
        rows.append(
            {"id": f"p{i}", "image": f"{i}.png", "other_image": f"{i}b.png", "kind": "ab"[i % 2], "rating": "own",
             "quality": f"{1 + 4 * (value - 30) / 190:.2f}" if known else "", "luck": rng.normal(),
             "alike": 4 - i % 5, "split": "test" if i % 3 == 0 else "train"}
        )  # fmt: skip
    write(made / "all.csv", rows)
    write(made / "plain.csv", [{k: r[k] for k in ("id", "image", "rating", "quality", "luck")} for r in rows])
    write(made / "new.csv", [{"id": r["id"], "image": r["image"]} for r in rows[-WITHOUT:]])
    return made


def write(file, rows):
    with file.open("w", newline="") as sink:
        out = csv.DictWriter(sink, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def truth(folder):
    return {f"p{i}": np.asarray(Image.open(folder / f"{i}.png"), float).mean() for i in range(N)}


@pytest.mark.parametrize("part", ["ridge-grades", "q-eval(dim=6, decay=0.03)", "compare2score(dim=6, pairs=300)"])
def test_items_without_a_grade_get_one_in_the_unit_of_the_others(folder, tmp_path, part):
    out = tmp_path / "graded.jsonl"
    report = grade(folder / "plain.csv", by="quality", part=part, encoders=SEES, out=out)
    found = report.figure(f"SRCC, {part}")
    assert found.value > 0.85 and found.low <= found.value <= found.high and found.count == N - WITHOUT
    assert report.figure(f"mean error, {part}").value < 0.6 * report.figure("mean error, the mean grade").value
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [set(r) for r in rows] == [{"id", "image", "rating", "quality", "luck", "quality_estimated"}] * N
    assert {r["rating"] for r in rows} == {"own"}
    late, light = rows[-WITHOUT:], truth(folder)
    assert all(r["quality"] is None for r in late)
    said = [r["quality_estimated"] for r in late]
    assert spearmanr(said, [light[r["id"]] for r in late]).statistic > 0.85
    assert 1 <= min(said) <= max(said) <= 5
    best = next(b for b in report.blocks if "without a grade" in getattr(b, "title", ""))
    assert best.items[0].ids[0] == late[int(np.argmax(said))]["id"]
    verdicts = [b.text for b in report.blocks if getattr(b, "kind", "") == "verdict"]
    assert len(verdicts) == (part != "ridge-grades")


def test_a_grade_of_nothing_is_not_claimed(folder):
    report = grade(folder / "plain.csv", by="luck", encoders=SEES)
    assert report.figure("SRCC, ridge-grades").low <= 0
    assert any("cannot tell whether" in getattr(b, "text", "") for b in report.blocks)


def test_the_split_of_the_data_holds_out(folder):
    report = grade(folder / "all.csv", by="quality", encoders=SEES)
    assert report.figure("SRCC, ridge-grades").count == len(range(0, N - WITHOUT, 3))


def test_another_collection_is_graded(folder, tmp_path):
    out = tmp_path / "new.csv"
    report, shown = graded(
        folder / "plain.csv", by="quality", part="ridge-grades", columns=(), encoders=SEES, new=folder / "new.csv",
        out=out, name="stars", seed=0, stages=None,
    )  # fmt: skip
    with out.open(newline="") as source:
        rows = list(csv.DictReader(source))
    light = truth(folder)
    assert report.facts["estimated"] == WITHOUT == len(rows) == len(shown)
    assert spearmanr([float(r["stars"]) for r in rows], [light[r["id"]] for r in rows]).statistic > 0.9


def test_how_two_pictures_fit_is_graded_beside_their_cosine(folder):
    columns = ("image", "other_image")
    both = grade(folder / "all.csv", by="alike", columns=columns, encoders=SEES)
    assert both.figure("SRCC, cosine of the two").value > 0.5
    assert any("against cosine of the two" in getattr(b, "text", "") for b in both.blocks)
    one = grade(folder / "all.csv", by="alike", encoders=SEES)
    assert both.figure("SRCC, ridge-grades").value > one.figure("SRCC, ridge-grades").value + 0.2


def test_a_run_is_graded_by_its_own_vectors_and_split(folder, tmp_path):
    collection = curate(read(folder / "all.csv"))
    collection.save(tmp_path / "collection")
    Model(collection.sides(), {"image": "colour-histogram"}).save(tmp_path / "model")
    report = grade(tmp_path, by="quality")
    found = report.figure("SRCC, ridge-grades")
    assert found.value > 0.7 and found.count == len(range(0, N - WITHOUT, 3))
    assert report.facts["looked at"] == ["other_image"]
    both = grade(tmp_path, by="alike", columns=("image", "other_image"))
    assert both.figure("SRCC, cosine of the two").value > 0.5
    with pytest.raises(TellapartError, match="own encoders"):
        grade(tmp_path, by="quality", encoders=SEES)
    with pytest.raises(TellapartError, match="no vectors of 'text'; known: image"):
        grade(tmp_path, by="quality", columns=("text",))


def test_the_verb_writes_a_table_and_a_page(folder, tmp_path):
    said = CliRunner().invoke(
        cli.app(["grade"]),
        ["grade", str(folder / "plain.csv"), "--by", "quality", "--encoder", "colour-histogram", "--out",
         str(tmp_path / "out.parquet"), "--html", str(tmp_path / "page.html"), "--json"],
    )  # fmt: skip
    assert said.exit_code == 0 and json.loads(said.stdout)["facts"]["graded"] == N - WITHOUT
    assert (tmp_path / "out.parquet").is_file() and "data:image" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "qualty"}, "did you mean quality"),
        ({"by": "rating"}, "'own', which is no number"),
        ({"by": "quality", "part": "knn"}, "not fitted on grades; .*q-eval"),
        ({"by": "quality", "columns": ("text",)}, "no column 'text'"),
        ({"by": "quality", "columns": ("quality",)}, "holds the grades"),
        ({"by": "quality", "encoders": ("minilm",)}, "minilm encodes texts, and what is looked at is image"),
        ({"by": "quality", "encoders": ("mlp-head",)}, "no frozen encoder"),
        ({"by": "quality", "name": "luck"}, "a column 'luck' already"),
        ({"by": "quality", "out": "{folder}/plain.csv"}, "is what is read"),
        ({"by": "quality", "out": "{folder}/graded.xlsx"}, "ends in .jsonl"),
    ],
)
def test_what_cannot_be_graded_is_said(folder, options, words):
    if "out" in options:
        options = options | {"out": options["out"].format(folder=folder)}
    before = (folder / "plain.csv").read_bytes()
    with pytest.raises(TellapartError, match=words):
        grade(folder / "plain.csv", **({"encoders": SEES} | options))
    assert (folder / "plain.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("grades", "words"),
    [
        ([3.0] * 19 + [None] * 11, "19 of 30 items have a grade in 'stars', and 20"),
        ([3] * 30, "all 30 grades in 'stars' are 3"),
        ([3] * 27 + [4] * 3, "all but 3 of 30 grades in 'stars' are 3"),
        ([1.0] * 5 + [float("nan")] * 25, "is nan: leave the cell empty"),
        (["many"] * 30, "no number"),
        ([None] * 30, "0 of 30 items"),
    ],
)
def test_grades_that_say_too_little_are_refused(tmp_path, grades, words):
    texts = [f"text {i} of {i * 7 % 31} and {i * 11 % 29}" for i in range(30)]
    Collection.of({"text": texts, "stars": grades}).save(tmp_path)
    with pytest.raises(TellapartError, match=words):
        grade(tmp_path, by="stars")


def test_words_that_are_numbers_are_grades_and_empty_ones_are_none():
    rows, y = grades_of(Collection.of({"text": ["a"] * 4, "stars": ["3", " ", None, "4.5"]}), "stars")
    assert rows.tolist() == [0, 3] and y.tolist() == [3.0, 4.5]


def test_the_rank_correlation_is_spearmans_within_folds_and_counts_items_as_often_as_said():
    rng = np.random.default_rng(2)
    said, y, fold = rng.integers(0, 9, 60) * 1.0, rng.integers(0, 5, 60) * 1.0, np.arange(60) % 3
    times = rng.integers(0, 4, 60).astype(float)
    expected = total = 0.0
    for f in range(3):
        rows = np.repeat(np.flatnonzero(fold == f), times[fold == f].astype(int))
        expected += len(rows) * spearmanr(said[rows], y[rows]).statistic
        total += len(rows)
    assert rank_correlation(said, y, fold)(times) == pytest.approx(expected / total)
    assert rank_correlation(np.ones(60), y, fold)(times) == 0
    assert np.isnan(rank_correlation(said, np.ones(60), fold)(times))
