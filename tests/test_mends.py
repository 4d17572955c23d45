"""Every command that an audit proposes is one that the command line takes, with fields and parts that exist."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest
import typer

import tellapart
from tellapart import cli
from tellapart.core.parts import card_of
from tellapart.recipe import PLAIN, Recipe

PACKAGE = Path(tellapart.__file__).parent
FILLED = "0000"
FILES = [*(PACKAGE / "parts" / "audit").glob("*.py"), *(PACKAGE / "core").glob("*.py")]


def commands():
    """(file, command) of every string in audit parts that begins like one; what is filled in is a 1."""
    for file in sorted(FILES):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        pieces = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            said = ""
            if isinstance(node, ast.JoinedStr):
                said = "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in pieces:
                said = node.value
            if said.startswith("tellapart "):
                yield pytest.param(said, id=f"{file.stem}: {said}")


@pytest.mark.parametrize("said", list(commands()))
def test_a_command_that_mends_is_one_that_is_there(said, tmp_path):
    (tmp_path / "there").touch()
    words = shlex.split(said.format(model=tmp_path, data=tmp_path / "there"))[1:]
    verb = typer.main.get_command(cli.app(words)).commands[words[0]]
    given = verb.make_context(words[0], words[1:]).params
    recipe = PLAIN
    for assignment in given.get("change") or []:
        field, _, value = assignment.partition("=")
        assert field in Recipe.model_fields
        if FILLED in value:
            assert card_of(None, value.partition("(")[0]) if "(" in value else True
            continue
        recipe = recipe.changed_by(assignment)
