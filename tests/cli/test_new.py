"""`tellapart new` for every shape: what it writes is listed, formatted, lint-free, and keeps contract and oracle."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellapart import catalogue, cli, scaffold
from tellapart.core.errors import PartError, TellapartError
from tellapart.core.parts import SHAPES, card_of, cards

SETTINGS = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_part_works_as_it_is_written(tmp_path, monkeypatch, shape):
    part, oracle, evidence = scaffold.new(shape, "my-idea", into=tmp_path)
    assert (part, oracle) == (tmp_path / shape / "my_idea.py", tmp_path / "oracles" / "my_idea.py")
    monkeypatch.setenv("TELLAPART_PARTS", str(tmp_path))
    card = card_of(shape, "my-idea")
    assert card.file == part and card.doc and card.paper
    wrong = [row for row in catalogue.verify(card) if row[1] != "holds"]
    assert not wrong
    assert sum(name.startswith("oracle") for name, _ in catalogue.verify(card)) >= 2
    spec = tomllib.loads(evidence.read_text(encoding="utf-8"))
    assert spec["part"] == "my-idea" and spec["baseline"] in cards(shape)
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(SETTINGS), "--no-cache", str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_check_sees_a_part_that_breaks_its_promise(tmp_path, monkeypatch):
    part, *_ = scaffold.new("score", "my-idea", into=tmp_path)
    part.write_text(part.read_text().replace("out.append(np.sort", "out.append(-np.sort"))
    monkeypatch.setenv("TELLAPART_PARTS", str(tmp_path))
    ran = CliRunner().invoke(cli.app(["check"]), ["check", "my-idea"])
    assert ran.exit_code == 1
    assert "check_higher_is_more_unknown" in ran.output and "fails" in ran.output


def test_the_verb_says_how_the_part_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("TELLAPART_PARTS", raising=False)
    ran = CliRunner().invoke(cli.app(["new"]), ["new", "objective", "my-loss", "--into", str(tmp_path)])
    assert ran.exit_code == 0 and f"export TELLAPART_PARTS={tmp_path}" in ran.output.replace("\n", "")
    monkeypatch.setenv("TELLAPART_PARTS", str(tmp_path))
    ran = CliRunner().invoke(cli.app(["new"]), ["new", "objective", "my-other-loss", "--into", str(tmp_path)])
    assert "export" not in ran.output


def test_in_a_checkout_the_files_go_to_their_rooms(tmp_path, monkeypatch):
    monkeypatch.setattr(scaffold, "checkout", lambda: tmp_path)
    files = scaffold.new("rank", "my-idea")
    assert [f.relative_to(tmp_path).as_posix() for f in files] == [
        "tellapart/parts/rank/my_idea.py", "tests/oracles/my_idea.py", "evidence/my-idea.toml",
    ]  # fmt: skip


def test_nothing_is_overwritten(tmp_path):
    _, oracle, _ = scaffold.new("score", "my-idea", into=tmp_path)
    oracle.write_text("mine")
    with pytest.raises(TellapartError, match="is there already"):
        scaffold.new("score", "my-idea", into=tmp_path)
    assert oracle.read_text() == "mine"


@pytest.mark.parametrize(
    ("shape", "name", "words"),
    [
        ("scor", "my-idea", "there is no shape 'scor'; did you mean score"),
        ("score", "My-Idea", "cannot be a part's name"),
        ("score", "my_idea", "cannot be a part's name"),
        ("score", "../up", "cannot be a part's name"),
        ("score", "", "cannot be a part's name"),
        ("score", "a" * 41, "cannot be a part's name"),
        ("score", "class", "is a word of Python"),
        ("score", "knn", "is taken by the score knn"),
        ("objective", "mnrl", "is taken by the objective infonce"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path, shape, name, words):
    with pytest.raises(PartError, match=words):
        scaffold.new(shape, name, into=tmp_path)
    assert not list(tmp_path.iterdir())
