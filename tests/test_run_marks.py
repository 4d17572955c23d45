"""Marks on a run are honoured by the next one: by its groups, its positives, its miner and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart import cli
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.marks import FILE, Mark, add_mark
from tellapart.recipe import Recipe
from tellapart.run import run

SMALL = Recipe(image="hog(cells=4)", head="linear-head(dim=16)", epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(80):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((48, 48), Image.Resampling.BICUBIC).save(folder / f"thing number {i}.png")
    return folder


def one_group(folder: Path, *ids: str) -> bool:
    made = Collection.open(folder / "collection")
    return all(len({made[c][made.row_of[i]].as_py() for i in ids}) == 1 for c in ("group", "target"))


def test_a_run_honours_the_marks_of_its_folder(pictures: Path, tmp_path: Path) -> None:
    out, first, second = tmp_path / "run", "thing number 3.png", "thing number 57.png"
    run(pictures, out=out, recipe=SMALL, cache=tmp_path / "cache")
    before = Collection.open(out / "collection").fingerprint
    add_mark(out / FILE, Mark(first, second, "same"))
    report = run(pictures, out=out, recipe=SMALL, cache=tmp_path / "cache")
    made = Collection.open(out / "collection")
    assert one_group(out, first, second) and made.fingerprint != before
    assert made["split"][made.row_of[first]] == made["split"][made.row_of[second]]
    said = " ".join(b["text"] for b in json.loads((out / "report.json").read_text())["blocks"] if b["block"] == "text")
    assert "1 pairs were marked as the same" in said and report.facts["marks"] == 1
    add_mark(out / FILE, Mark(first, "thing number 9.png", "same"))
    mined = CliRunner().invoke(cli.app(["mine"]), ["mine", str(out), "--depth", "80", "--json"])
    assert mined.exit_code == 0, mined.output
    counts = json.loads(mined.output)["facts"]["counts"]
    trained = {str(i) for i, part in zip(made.ids, made.values("split"), strict=True) if part == "train"}
    assert counts["mark"] == 2 * sum({first, other} <= trained for other in (second, "thing number 9.png")) > 0


def test_marks_of_another_collection_are_left_aside(pictures: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "manifest.json").write_text(json.dumps({"source": "elsewhere"}))
    add_mark(out / FILE, Mark("thing number 3.png", "thing number 5.png", "same"))
    report = run(pictures, out=out, recipe=SMALL, cache=tmp_path / "cache")
    assert report.facts["marks"] == 0
    given = run(pictures, out=tmp_path / "other", recipe=SMALL, marks=out / FILE, cache=tmp_path / "cache")
    assert given.facts["marks"] == 1 and one_group(tmp_path / "other", "thing number 3.png", "thing number 5.png")


def test_a_file_of_marks_that_is_not_there_is_said(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file of marks"):
        run(pictures, out=tmp_path / "run", recipe=SMALL, marks=tmp_path / "none", cache=tmp_path / "cache")
