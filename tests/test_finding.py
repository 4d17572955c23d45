"""`tellapart curate` from a folder of pictures to decisions that what follows honours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart import cli, finding
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.findings import Findings
from tellapart.data import read
from tellapart.data.decisions import read_decisions
from tellapart.recipe import Recipe
from tellapart.run import run

N = 60
SMALL = Recipe(image="hog(cells=4)", head="linear-head(dim=16)", epochs=2, batch_size=16)


def call(*arguments: object, ok: bool = True):
    words = [str(a) for a in arguments]
    done = CliRunner().invoke(cli.app(words), words)
    assert (done.exit_code == 0) == ok, done.output
    return done


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    words = ["..." if i < 4 else "an image" if i < 10 else f"thing that is number {i}" for i in range(N)]
    for i in range(N):
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((32, 32), Image.Resampling.NEAREST).save(folder / f"{i:02d}.png")
    (folder / "captions.csv").write_text(
        "id,image,text\n" + "".join(f"item:{i:02d},{i:02d}.png,{w}\n" for i, w in enumerate(words)), encoding="utf-8"
    )
    return folder / "captions.csv"


@pytest.fixture
def usual(monkeypatch):
    """Small encoders in the place of the usual ones."""
    small = lambda self, name, kind: np.random.default_rng(len(name)).normal(size=(len(self.collection), 8))  # noqa: E731
    monkeypatch.setattr(finding.Frozen, "_embedded", small)


def test_from_pictures_to_decisions_to_a_run(pictures, tmp_path, usual):
    out = tmp_path / "curated"
    said = call("curate", pictures, "--out", out, "--find", "odd-captions")
    assert "10" in said.output and "its caption says nothing: '...'" in said.output
    page = (out / "findings.html").read_text(encoding="utf-8")
    assert "odd-captions: 10 proposed" in page and page.count("data:image/webp") == 10
    held = json.loads(
        call("curate", out, "--accept", "odd-captions", "--reject", "odd-captions:item:05", "--json").stdout
    )
    row = next(b for b in held["blocks"] if b["block"] == "table")["rows"][0]
    assert row[:5] == ["odd-captions", N, 10, 9, 1]
    assert len(Collection.open(out)) == N and len(read(out)) == N - 9 and len(read_decisions(out)) == 10
    report = run(out, out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache")
    notes = " ".join(b.text for b in report.blocks if type(b).__name__ == "Text")
    assert f"9 of {N} items were dropped by decision and are left out" in notes
    assert "item:05" in Collection.open(tmp_path / "run" / "collection").row_of
    assert "item:04" not in Collection.open(tmp_path / "run" / "collection").row_of
    call("curate", out, "--forget", "odd-captions")
    assert len(read(out)) == N
    assert "give another --out" in call("curate", out, "--out", out, ok=False).stderr


def test_all_that_fit_are_looked_for_and_none_where_that_is_said(pictures, tmp_path, usual):
    call("curate", pictures, "--out", tmp_path)
    assert {"odd-captions"} <= set(Findings.open(tmp_path).shown)
    assert not {"blind-solvable", "debated-labels"} & set(Findings.open(tmp_path).shown)
    call("curate", pictures, "--out", tmp_path / "none", "--find", "none")
    assert Findings.open(tmp_path / "none").shown == {} and not (tmp_path / "none" / "findings.html").exists()


def test_a_part_that_does_not_fit_is_left_out_or_refused(pictures):
    one = Collection.of({"text": [f"words {i}" for i in range(9)], "label": ["x"] * 9, "group": range(9)})
    assert "odd-captions" not in finding.fitting(one) and "odd-captions" in finding.fitting(read(pictures))
    with pytest.raises(DataError, match="odd-captions needs pairs of two columns"):
        finding.find(one, ["odd-captions"], vectors={})
    with pytest.raises(PartError, match="no find named"):
        finding.find(one, ["odd-caption"], vectors={})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("odd", "there are no findings of 'odd'"),
        ("odd-captions:c", "does not propose anything of 'c'"),
        ("odd-captions:", "does not propose anything of ''"),
    ],
)
def test_decisions_about_nothing_are_refused(tmp_path, spec, words):
    Findings.of("odd-captions", ["a", "c"], [1, 0], shown=1, action="drop", reasons=["why", ""]).save(tmp_path)
    with pytest.raises(DataError, match=words):
        finding.decide(tmp_path, accept=[spec])
    assert not read_decisions(tmp_path)


def test_decisions_stand_apart_from_looking(pictures, tmp_path):
    said = call("curate", tmp_path, "--accept", "odd-captions", "--out", tmp_path / "x", ok=False)
    assert "leave out the rest" in said.stderr
    assert "holds no findings" in call("curate", tmp_path, "--accept", "odd-captions", ok=False).stderr
    assert "stands alone" in call("curate", pictures, "--find", "none", "--find", "odd-captions", ok=False).stderr
