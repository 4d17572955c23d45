"""`tellapart upgrade`: one thing at a time, and what goes wrong in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellapart import cli
from tellapart.engine import versions


def run(*arguments: object):
    return CliRunner().invoke(cli.app(["upgrade"]), ["upgrade", *map(str, arguments)])


def make(folder: Path, model: str) -> Path:
    for name, text in (("model/model.json", model), ("index/current.json", "{}")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("given", [(), ("--back", "--forget"), ("--to", "x", "--back"), ("--backfill", "3", "--back")])
def test_one_thing_at_a_time(tmp_path, given):
    ran = run(make(tmp_path / "run", "old"), *given)
    assert ran.exit_code == 2 and "say one thing to do" in ran.output


def test_back_and_forget(tmp_path):
    folder = make(tmp_path / "run", "old")
    ran = run(folder, "--back")
    assert ran.exit_code == 2 and "no upgrade to take back" in ran.output
    made = versions.begin(folder)
    make(made, "new")
    versions.finish(folder, made, {"to": "runs/new", "part": "ridge"})
    ran = run(folder, "--back", "--json")
    assert ran.exit_code == 0 and json.loads(ran.output)["facts"]["part"] == "ridge"
    assert (folder / "model" / "model.json").read_text() == "old"
    ran = run(folder, "--forget")
    assert ran.exit_code == 0 and "1 kept versions" in ran.output
    assert not versions.kept_in(folder).exists()


def test_no_run_there(tmp_path):
    for given in (("--to", "minilm"), ("--backfill", "3"), ("--back",), ("--forget",)):
        ran = run(tmp_path / "none", *given)
        assert ran.exit_code == 2 and ran.output, given
    (tmp_path / "empty").mkdir()
    ran = run(tmp_path / "empty", "--back")
    assert "holds no run" in ran.output
