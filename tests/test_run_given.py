"""`run` and `compare` on data that come with a split of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.compare import compare
from tellapart.core.collection import Collection
from tellapart.core.progress import Silence
from tellapart.recipe import Recipe
from tellapart.run import prepare, run

SMALL = Recipe(image="hog(cells=4)", head="linear-head(dim=16)", epochs=2, batch_size=32)
WORDS = ("amber", "basil", "cedar", "daisy", "ember", "fjord", "grove", "heron", "ivory", "jetty", "kiosk", "lilac")


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in train/ and dev/; two of dev/ are copies of pictures in train/."""
    folder = tmp_path_factory.mktemp("parted")
    rng = np.random.default_rng(0)
    for i in range(120):
        part = "train" if i < 90 else "dev"
        (folder / part).mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize((48, 48), Image.Resampling.BICUBIC).save(folder / part / f"{WORDS[i % 10]} {WORDS[i // 10]}.png")
    for name in ("amber amber.png", "basil amber.png"):
        shutil.copy(folder / "train" / name, folder / "dev" / f"copy of {name}")
    return folder


def texts(report: Path) -> str:
    return " ".join(b["text"] for b in json.loads(report.read_text())["blocks"] if b["block"] == "text")


class Told(Silence):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_curation_is_done_once_and_that_is_said(parted: Path, tmp_path: Path) -> None:
    told = Told(), Told()
    first, again = (prepare(parted, seed=0, cache=tmp_path, stages=stages) for stages in told)
    assert "read from the cache" not in str(told[0].lines) and "read from the cache" in str(told[1].lines)
    assert first.fingerprint == again.fingerprint


def test_a_run_keeps_the_split_and_says_what_it_made(parted: Path, tmp_path: Path) -> None:
    run(parted, out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache")
    kept = Collection.open(tmp_path / "run" / "collection")
    sides = dict(zip(kept.ids, kept.values("split"), strict=True))
    assert {s for i, s in sides.items() if i.startswith("dev/")} == {"validation"}
    assert {s for i, s in sides.items() if i.startswith("train/")} == {"train", "test"}
    said = texts(tmp_path / "run" / "report.json")
    assert "90 train, 32 validation" in said and "items of train were taken, by duplicate group: 20 for test" in said
    assert "leakage: 2 of " in said


def test_figures_without_leaked_items_stand_beside_the_others(parted: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copytree(parted / "train", tmp_path / "data" / "train")
    shutil.copytree(parted / "dev", tmp_path / "data" / "test")
    run(tmp_path / "data", out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache")
    blocks = json.loads((tmp_path / "run" / "report.json").read_text())["blocks"]
    (table,) = [b for b in blocks if b.get("title") == "The same figures without near duplicates"]
    assert "without 2 of 32" in table["note"] and {row[1]["count"] for row in table["rows"]} == {30}


def test_compare_never_touches_the_given_test_part(parted: Path, tmp_path: Path) -> None:
    report = compare(parted, tries=["epochs=1"], base=SMALL, seeds=1, cache=tmp_path / "cache", out=tmp_path / "c")
    assert report.blocks[1].rows[0][0] == "base"
    assert "the split that came with the data was used" in texts(tmp_path / "c" / "report.json")
