"""`run` and `compare` on a folder of somebody's own, with real encoders and a real index."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.compare import changed, compare, winner
from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.report import Figure
from tellapart.data.splits import split
from tellapart.engine.indexing import open_index
from tellapart.engine.model import Model
from tellapart.recipe import Recipe
from tellapart.run import run

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
SMALL = Recipe(image="hog(cells=4)", head="linear-head(dim=32)", epochs=4, batch_size=32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 drawings, named by what they show, and one file that is none."""
    folder = tmp_path_factory.mktemp("my pictures")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for shape in ("circle", "square", "cross"):
            for size in range(20):
                picture = Image.new("RGB", (64, 64), "white")
                draw = ImageDraw.Draw(picture)
                half, (x, y) = 8 + size, rng.integers(26, 38, size=2)
                box = (x - half, y - half, x + half, y + half)
                if shape == "circle":
                    draw.ellipse(box, fill=colour)
                elif shape == "square":
                    draw.rectangle(box, fill=colour)
                else:
                    draw.line(box, fill=colour, width=6)
                    draw.line((box[0], box[3], box[2], box[1]), fill=colour, width=6)
                picture.save(folder / f"{name} {shape} number {size}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def done(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(pictures, out=out, recipe=SMALL, cache=out / "cache")
    return out


def test_a_run_leaves_everything_behind(done: Path) -> None:
    for name in ("collection", "model", "index"):
        assert (done / name).is_dir()
    report = json.loads((done / "report.json").read_text())
    tables = [b for b in report["blocks"] if b["block"] == "table"]
    assert {"text-to-image", "image-to-text"} <= {t["title"] for t in tables}
    labels = [row[0] for row in tables[0]["rows"]]
    assert labels == ["untrained", "plain InfoNCE", "this recipe", "this recipe less plain"]
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["items"] == 240 and manifest["recipe hash"] == SMALL.hash and manifest["data"]
    assert "broken.png" in (done / "report.html").read_text()
    assert Recipe.from_toml(done / "recipe.toml") == SMALL


def test_what_is_served_is_what_was_trained(done: Path) -> None:
    model, index = Model.load(done / "model"), open_index(done / "index")
    found: Hits = index.search(model.encode_query(["red circle number 3", "blue square number 7"]), 5)
    assert len(found) == 2 and all(found[0]) and len(found[0]) == 5
    stored = json.loads((done / "model" / "calibration.json").read_text())
    assert set(stored) == {"calibration", "threshold", "queries"}
    assert sum(stored["queries"]["counts"]) == 24


def test_a_second_run_finds_the_work_done(pictures: Path, done: Path) -> None:
    before = (done / "model" / "query.safetensors").read_bytes()
    run(pictures, out=done, recipe=SMALL, cache=done / "cache")
    assert (done / "model" / "query.safetensors").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_refused_at_once(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--out"):
        run(pictures, out=tmp_path / "file")


def test_compare_pairs_and_resumes(pictures: Path, tmp_path: Path) -> None:
    tries = ["objective=dcl", "epochs=1 + learning_rate=0.00001"]
    options = {"tries": tries, "base": SMALL, "seeds": 3, "cache": tmp_path / "cache", "out": tmp_path / "compare"}
    first = compare(pictures, stop_early=False, **options)
    (table,) = [b for b in first.blocks if getattr(b, "title", "") == "against the base"]
    assert [row[0] for row in table.rows] == ["base", *tries]
    worse = table.rows[2]
    assert worse[2].value < 0 and worse[2].low < worse[2].value < worse[2].high
    assert (table.rows[2][3] == "hurts") == (worse[2].high < 0)
    files = sorted((tmp_path / "compare" / "trials").rglob("*.npy"))
    assert len(files) == 9
    times = [f.stat().st_mtime_ns for f in files]
    files[0].unlink()
    again = compare(pictures, stop_early=False, **options)
    assert [f.stat().st_mtime_ns for f in files[1:]] == times[1:] and files[0].is_file()
    assert [r[1] for r in again.blocks[1].rows] == [r[1] for r in first.blocks[1].rows]
    assert winner(first).hash in {SMALL.hash, changed(SMALL, tries[0]).hash}


def test_compare_never_trains_on_what_is_held_out(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def spying(collection, *, seed, shares=(0.7, 0.1, 0.2), by=None):
        made = split(collection, seed=seed, shares=shares, by=by)
        seen.update(made.ids.tolist())
        return made

    monkeypatch.setattr(sys.modules["tellapart.compare"], "split", spying)
    compare(pictures, tries=["objective=dcl"], base=SMALL.but(epochs=1), seeds=1, cache=tmp_path, out=tmp_path / "c")
    from tellapart.run import prepare

    whole = prepare(pictures, seed=0, cache=tmp_path)
    held = {i for i, s in zip(whole.ids, whole.values("split"), strict=True) if s == "test"}
    assert held and not held & seen


def test_wrong_tries_are_refused_before_anything_runs(pictures: Path, tmp_path: Path) -> None:
    for wrong, words in (
        ("objective=dlc", "did you mean"),
        ("objectve=dcl", "did you mean"),
        ("objective", "field=value"),
        ("objective=dcl(temperature=-1)", "greater"),
    ):
        with pytest.raises(PartError, match=words):
            compare(pictures, tries=[wrong], out=tmp_path)
    with pytest.raises(PartError, match="same recipe"):
        compare(pictures, tries=["objective=infonce"], out=tmp_path)


def test_rank_parts_change_what_is_measured(pictures: Path, tmp_path: Path) -> None:
    options = {"base": SMALL, "seeds": 1, "cache": tmp_path / "cache", "out": tmp_path / "compare"}
    report = compare(pictures, tries=["rank=dbnorm"], **options)
    base, reordered = report.blocks[1].rows
    assert reordered[1] != base[1]


def test_the_encoder_as_it_is_is_kept_where_training_does_not_help(tmp_path: Path) -> None:
    things = ["cat", "red car", "old house", "boat", "pear", "green hat", "long road", "cold soup", "chess", "violin"]
    texts = [(f"a {thing} {n}", f"here is a {thing}, number {n}") for thing in things for n in range(6)]
    split = [["train", "train", "train", "train", "validation", "test"][i % 6] for i in range(60)]
    wrong = [texts[(i + 7) % 60][1] if split[i] == "train" else texts[i][1] for i in range(60)]
    columns = {"anchor": [a for a, _ in texts], "positive": wrong, "split": split}
    file = tmp_path / "pairs.csv"
    rows = zip(*columns.values(), strict=True)
    file.write_text("anchor;positive;split\n" + "\n".join(";".join(row) for row in rows), encoding="utf-8")
    report = run(file, out=tmp_path / "run", cache=tmp_path / "cache")
    assert report.facts["chosen"] == "untrained"
    model = Model.load(tmp_path / "run" / "model")
    assert not model.heads and model.dim == 384
    recipe = Recipe.from_toml(tmp_path / "run" / "recipe.toml")
    assert recipe.tune == "none"
    again = run(file, out=tmp_path / "again", cache=tmp_path / "cache", recipe=recipe)
    assert {f.name: f.value for f in again.blocks if isinstance(f, Figure)}["anchor-to-positive R@10"] == {
        f.name: f.value for f in report.blocks if isinstance(f, Figure)
    }["anchor-to-positive R@10"]


def test_a_second_run_with_more_data_or_other_code_trains_anew(pictures: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pictures"
    shutil.copytree(pictures, copy)
    run(copy, out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache")
    first = {file.name for file in (tmp_path / "run" / "training").iterdir()}
    Image.new("RGB", (40, 40), COLOURS["red"]).save(copy / "a plain red square.png")
    run(copy, out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache")
    second = {file.name for file in (tmp_path / "run" / "training").iterdir()}
    assert len(first) == len(second) == 2 and not first & second
