"""A run that is stopped anywhere goes on to the same bits; bad pictures are told and left out; a full disk is said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart.cli import app
from tellapart.core.collection import Collection
from tellapart.core.progress import Progress, Silence
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.server.service import Service

SMALL = Recipe(image="hog(cells=4)", head="linear-head(dim=16)", epochs=3, batch_size=16)
KEPT = (".safetensors", ".npy", ".arrow", ".toml")
LABELS = ("circles", "stripes", "noise")


def drawn(label: str, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    if label == "noise":
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    else:
        y, x = np.mgrid[:24, :32]
        wave = np.hypot(y - 12, x - 16) if label == "circles" else x
        small = (127 * (1 + np.sin(wave[..., None] / (1 + rng.random(3)) + 6 * rng.random()))).astype(np.uint8)
    return Image.fromarray(small).resize((48, 36), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for label in LABELS:
        (folder / label).mkdir()
        for i in range(20):
            drawn(label, 100 * LABELS.index(label) + i).save(folder / label / f"{i}.png")
    return folder


def bits(out: Path) -> dict[str, str]:
    """What a run leaves behind, file by file; not when, and not where."""
    files = [f for f in sorted(out.rglob("*")) if f.suffix in KEPT and f.is_file() and "training" not in f.parts]
    found = {str(f.relative_to(out)).replace("v0002", "v0001"): f.read_bytes() for f in files}
    blocks = json.loads((out / "report.json").read_text())["blocks"]
    figures = [b for b in blocks if b["block"] in ("table", "figure") and "index" not in b.get("name", "")]
    found["figures"] = json.dumps(figures).encode()
    return {name: hashlib.sha256(content).hexdigest()[:12] for name, content in found.items()}


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole")
    run(pictures, out=out / "run", recipe=SMALL, cache=out / "cache")
    return bits(out / "run")


class Stopping(Silence):
    """Ctrl-C in the middle of the first stage that was not stopped yet."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        def told(done: int, total: int) -> None:
            if name not in self.stopped and done >= total / 2:
                self.stopped.append(name)
                raise KeyboardInterrupt

        yield told


def test_ctrl_c_in_any_stage_and_the_run_goes_on_to_the_same_bits(
    pictures: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    stages, ended = Stopping(), False
    while not ended:
        with suppress(KeyboardInterrupt):
            run(pictures, out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache", stages=stages)
            ended = True
    wanted = {
        "look for duplicates",
        "embed image with hog",
        "train plain InfoNCE",
        "train this recipe",
        "build the index",
    }
    assert wanted <= {*stages.stopped}
    assert bits(tmp_path / "run") == whole
    assert not [f for f in tmp_path.rglob(".*") if f.is_file()]


def test_a_full_disk_is_said_wherever_it_fills_up_and_the_run_goes_on(
    pictures: Path, whole: dict[str, str], tmp_path: Path, full_disk: Any
) -> None:
    (tmp_path / "recipe.toml").write_text(SMALL.to_toml())
    arguments = ["run", str(pictures), "--out", str(tmp_path / "run"), "--recipe", str(tmp_path / "recipe.toml")]
    said = set()
    environment = {"TELLAPART_CACHE": str(tmp_path / "cache")}
    for size in (100, 2_000, 6_000, 12_000, 25_000, 50_000, 100_000):
        with full_disk(size):
            ended = CliRunner().invoke(app(arguments), arguments, env=environment)
        assert ended.exit_code in (0, 2), ended.exception
        if ended.exit_code == 2:
            last = ended.stderr.splitlines()[-1]
            said.add(last)
            assert last.startswith("tellapart: ") and any(
                word in last for word in ("free", "Free", "room", "another folder")
            )
    assert len(said) >= 3
    assert CliRunner().invoke(app(arguments), arguments, env=environment).exit_code == 0
    assert bits(tmp_path / "run") == whole


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_points_a_run_ends_with_the_same_bits(
    pictures: Path, whole: dict[str, str], tmp_path: Path, seed: int
) -> None:
    (tmp_path / "recipe.toml").write_text(SMALL.to_toml())
    command = [sys.executable, "-c", "from tellapart.cli import main; main()", "run", str(pictures)]
    command += ["--out", str(tmp_path / "run"), "--recipe", str(tmp_path / "recipe.toml")]
    environment = {**os.environ, "TELLAPART_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    rng, killed = np.random.default_rng(seed), 0
    start = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    longest = time.monotonic() - start
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(tmp_path / "cache")
    for _ in range(4):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            process.wait(longest * (0.3 + 0.7 * rng.random()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        _, errors = process.communicate()
        assert "Traceback" not in errors
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert killed and bits(tmp_path / "run") == whole


def test_a_folder_of_bad_pictures_is_run_and_each_is_told(tmp_path: Path) -> None:
    from PIL import Image as pil

    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(30):
        drawn("noise", i).save(folder / f"thing {'abcdefghij'[i % 10]}{'xyz'[i // 10]} in the wild.png")
    whole = (folder / "thing ax in the wild.png").read_bytes()
    (folder / "cut short.png").write_bytes(whole[: len(whole) // 2])
    (folder / "zero bytes.png").write_bytes(b"")
    (folder / "no picture.jpg").write_text("hello")
    drawn("noise", 90).save(folder / "wrong name.gif", format="PNG")
    drawn("noise", 91).convert("CMYK").save(folder / "printed poster.jpg")
    deep = np.random.default_rng(1).integers(0, 65_536, (36, 48), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "sixteen bits.png")
    drawn("noise", 92).save(folder / "moving cat.gif", save_all=True, append_images=[drawn("noise", 93)])
    turned = pil.Exif()
    turned[274] = 6
    drawn("noise", 94).save(folder / "turned tower.jpg", exif=turned)
    drawn("noise", 95).save(folder / "красный дом.png")
    drawn("noise", 96).save(folder / "<b>bold</b> & 'quoted'.png".replace("/", "⁄"))
    drawn("noise", 97).save(folder / "IMG_0001.png")
    run(folder, out=tmp_path / "run", recipe=SMALL, cache=tmp_path / "cache")
    kept = Collection.open(tmp_path / "run" / "collection")
    told = {row["id"]: row["reason"] for row in kept.problems.to_pylist()}
    assert told.keys() == {"cut short.png", "zero bytes.png", "no picture.jpg", "IMG_0001.png"}
    assert len(kept) == 30 + 7 and {"printed poster.jpg", "sixteen bits.png", "wrong name.gif"} <= {*kept.ids}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "cut short.png" in page and "<b>bold" not in page
    service = Service(tmp_path / "run")
    assert all(service.picture(i).startswith(b"RIFF") for i in kept.ids)
    assert Image.open(service.source("turned tower.jpg")).size == (48, 36)
