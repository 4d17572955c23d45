"""`tellapart select` without a target: few items in the place of a labelled collection."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart import cli, condensing
from tellapart.core.errors import DataError
from tellapart.data import read
from tellapart.protocol import condensed


def call(*arguments: object, ok: bool = True):
    words = [str(a) for a in arguments]
    done = CliRunner().invoke(cli.app(words), words)
    assert (done.exit_code == 0) == ok, done.output
    return done


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty bright and twenty dark pictures of 6 x 5 pixels."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(40):
        low = 20 if i % 2 else 150
        values = rng.integers(low, low + 80, (5, 6, 3), dtype=np.uint8)
        (folder / ("dark" if i % 2 else "bright")).mkdir(exist_ok=True)
        Image.fromarray(values).save(folder / ("dark" if i % 2 else "bright") / f"{i}.png")
    return folder


def test_made_pictures_are_a_collection(pictures, tmp_path):
    out = tmp_path / "made"
    said = call("select", pictures, "--score", "dcc(networks=2)", "--keep", 5, "--out", out)
    assert "4 items in the place of 40" in said.output
    made = read(out / "items.csv")
    assert sorted(made.values("label")) == ["bright", "bright", "dark", "dark"]
    assert all(Image.open(out / f"{i:05d}.png").size == (6, 5) for i in range(4))
    assert "new folder" in call("select", pictures, "--score", "dcc", "--keep", 4, "--out", out, ok=False).output


def test_items_are_chosen_with_weights(pictures, tmp_path, monkeypatch):
    values = np.random.default_rng(1).normal(size=(40, 4))
    monkeypatch.setattr(condensing, "_vectors", lambda collection, column, stages: values)
    out = tmp_path / "few.jsonl"
    call("select", pictures, "--keep", "20%", "--out", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 8 and sum(r["label"] == "dark" for r in rows) == 4
    assert sum(r["weight"] for r in rows) == pytest.approx(8, abs=1e-3)


def test_what_does_not_fit_is_said(pictures, tmp_path):
    (tmp_path / "plain.csv").write_text("text\n" + "\n".join(f"words {i}" for i in range(9)), encoding="utf-8")
    assert "leave out --like" in call("select", pictures, "--score", "dcc", "--like", pictures, ok=False).output
    assert "--like" in call("select", pictures, "--score", "dsir", ok=False).output
    Image.new("RGB", (7, 7)).save(pictures / "dark" / "odd.png")
    with pytest.raises(DataError, match="not all of one size"):
        condensing.condense(pictures, keep="4", part="dcc", out=tmp_path / "made")
    with pytest.raises(DataError, match="a column `label`"):
        condensing.condense(tmp_path / "plain.csv", part="coverage")


def test_the_protocol_judges_chosen_items():
    given = {"textures": [0.3], "each": [1], "items": 120, "controls": ["k-centre"]}
    found = condensed.run({"part": "coverage", "baseline": "random", "options": given}, "digits", 0)
    assert set(found) == {"accuracy, 30% texture, 1 a class", "accuracy, 30% texture, 1 a class, against k-centre"}
    assert all(0.15 < x < 1 for pair in found.values() for x in pair)


def test_the_rate_is_chosen_on_validation_pictures(monkeypatch):
    made = {"dcc(rate=1.0)": (0.4, 0.9), "dcc(rate=2.0)": (0.5, 0.3), "random": (0.7, 0.6)}
    monkeypatch.setattr(condensed, "few", lambda how, *_: how)
    monkeypatch.setattr(condensed, "trained_on", lambda held, *_: made[held])
    assert condensed.reached("dcc", [(None, None)] * 3, 1, 0, [1.0, 2.0]) == 0.3
    assert condensed.reached("random", [(None, None)] * 3, 1, 0, [1.0, 2.0]) == 0.6
