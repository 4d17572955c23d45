"""A folder of pictures and captions in which both are missing here and there: learnt from, searched, never counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.compare import compare
from tellapart.core.errors import PartError
from tellapart.engine.indexing import open_index
from tellapart.engine.model import Model
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.runs import evaluate
from tellapart.server.service import Service

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220)}
CODES = Recipe(image="hog(cells=4)", strategy="rreh", head="sign-head(dim=32)", index="sign-bits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 drawings; every fifth lacks its caption, and every fifth caption its drawing."""
    folder, lines = tmp_path_factory.mktemp("drawings"), ["file_name,text"]
    for number in range(120):
        name, size = list(COLOURS)[number % 3], 6 + number // 6
        picture = Image.new("RGB", (64, 64), "white")
        draw = ImageDraw.Draw(picture).ellipse if number % 2 else ImageDraw.Draw(picture).rectangle
        draw((32 - size, 32 - size, 32 + size, 30 + size + number % 5), fill=COLOURS[name])
        picture.save(folder / f"{number:03d}.png")
        words = f"{name} {'circle' if number % 2 else 'box'} of size {size}.{number % 6}"
        lines.append(f"{'' if number % 5 == 1 else f'{number:03d}.png'},{'' if number % 5 == 2 else words}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(folder, out=out, recipe=CODES)
    return out


def test_they_are_searched_and_not_counted(done: Path) -> None:
    told = json.loads((done / "report.json").read_text())
    texts = " ".join(block.get("text", "") for block in told["blocks"])
    assert "24 with text alone and 24 with image alone" in texts
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["items"] == 72
    index, service = open_index(done / "index"), Service(done)
    assert service.items == len(index.ids) == 96
    assert {f"{n:03d}.png" for n in range(2, 120, 5)} <= set(index.ids)
    held = json.loads((done / "report.json").read_text())["blocks"]
    counts = {f["count"] for b in held if b["block"] == "table" and b["title"] == "text-to-image" for r in b["rows"]
              for f in r[1:] if isinstance(f, dict)}  # fmt: skip
    split = service.collection.values("split")
    assert counts == {split.count("test")} and split.count(None) == 24
    found = {r.id: service.collection.item(r.id) for r in service.search("red box", k=96).results}
    assert len(found) == 96 and sum(item["text"] is None for item in found.values()) == 24


def test_what_is_searched_are_codes(done: Path) -> None:
    z = Model.load(done / "model").encode_query(["red box", "blue circle of size 9"])
    assert np.abs(np.abs(z) - 32**-0.5).max() < 1e-6
    index = open_index(done / "index")
    assert np.abs(np.abs(index.vectors(index.ids[:5].tolist())) - 32**-0.5).max() < 1e-6


def test_figures_afterwards_are_those_of_the_run(done: Path) -> None:
    """The pairs alone are measured by `evaluate`, whatever else is searched."""
    told = json.loads((done / "report.json").read_text())["blocks"]
    first = next(b for b in told if b["block"] == "figure" and b["name"] == "text-to-image nDCG@10")
    again = next(b for b in evaluate(done).blocks if getattr(b, "name", "") == "nDCG@10")
    assert again.value == pytest.approx(first["value"], abs=1e-9) and again.count == first["count"]


def test_they_change_what_is_learnt_and_other_strategies_leave_them_aside(folder: Path, done: Path, tmp_path) -> None:
    whole = (folder / "metadata.csv").read_text().splitlines()
    kept = [line for line in whole if not line.startswith(",") and not line.endswith(",")]
    (tmp_path / "pairs").mkdir()
    for file in folder.glob("*.png"):
        (tmp_path / "pairs" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pairs" / "metadata.csv").write_text("\n".join(kept))
    run(tmp_path / "pairs", out=tmp_path / "less", recipe=CODES)
    states = [Model.load(at / "model").heads["query"].state["skip.weight"] for at in (done, tmp_path / "less")]
    assert not np.array_equal(*states)
    assert not (tmp_path / "less" / "corpus").exists()
    other = CODES.but(strategy="cca-itq")
    run(folder, out=tmp_path / "other", recipe=other)
    assert len(open_index(tmp_path / "other" / "index").ids) == 72
    problems = [b for b in json.loads((tmp_path / "other" / "report.json").read_text())["blocks"] if
                b.get("title") == "Problems"]  # fmt: skip
    assert {(row[0], row[1]) for row in problems[0]["rows"]} == {("empty text", 24), ("empty file_name", 24)}


def test_compare_gives_them_to_those_that_learn_from_them(folder: Path, tmp_path: Path) -> None:
    base = CODES.but(strategy="cca-itq")
    tries = ["strategy=rreh", "strategy=rreh(rounds=1)"]
    report = compare(folder, tries=tries, base=base, seeds=2, out=tmp_path, stop_early=False)
    table = next(b for b in report.blocks if getattr(b, "title", "") == "against the base")
    assert [row[0] for row in table.rows] == ["base", *tries]
    assert len(list((tmp_path / "trials").iterdir())) == 6


def test_what_it_cannot_use_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("text,label\n" + "\n".join(f"word {n},{n % 3}" for n in range(60)))
    for strategy in ("rreh", "cca-itq"):
        with pytest.raises(PartError, match="needs pairs of two columns"):
            run(tmp_path / "labels.csv", out=tmp_path / "run", recipe=Recipe(strategy=strategy))
        with pytest.raises(PartError, match="has no training steps"):
            Recipe(strategy=strategy, tune="full").check()
