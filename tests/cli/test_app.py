"""The command line as a process and in one: verbs, help, and failures in words."""

from __future__ import annotations

import errno
import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.testing import CliRunner

import tellapart
from tellapart import cli
from tellapart.core.errors import DataError, MissingExtraError
from tellapart.core.parts import SHAPES, cards

FOLDER = Path(cli.__file__).parent
VERBS = sorted(file.stem for file in FOLDER.glob("[!_]*.py"))


def run(*arguments: str):
    return CliRunner().invoke(cli.app(arguments), arguments)


def process(*arguments: str, **options):
    return subprocess.run(
        [sys.executable, "-m", "tellapart", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_verbs_are_the_files_of_the_folder():
    assert sorted(cli.verbs()) == VERBS
    assert {"parts", "explain", "new", "doctor"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_documents_every_option(verb):
    shown = run(verb, "--help")
    assert shown.exit_code == 0, shown.output
    line = cli.verbs()[verb]
    assert line.endswith(".") and len(line) <= 100, f"the help of {verb} starts with one short sentence: {line!r}"
    function = getattr(importlib.import_module(f"tellapart.cli.{verb}"), verb)
    for name, kind in get_type_hints(function, include_extras=True).items():
        if name != "return":
            said = [m.help for m in getattr(kind, "__metadata__", ()) if hasattr(m, "help")]
            assert said and said[0], f"{verb}: {name} has no help"


def test_help_lists_every_verb_without_importing_any():
    code = (
        "import sys; sys.argv = ['tellapart', '--help']\n"
        "from tellapart.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "loaded = [m for m in sys.modules if m.startswith('tellapart.cli.') or m in ('torch', 'numpy', 'pyarrow')]\n"
        "assert not loaded, loaded"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert all(verb in shown.stdout for verb in VERBS)


def test_parts_imports_neither_torch_nor_another_verb():
    code = (
        "import sys; sys.argv = ['tellapart', 'parts']\n"
        "from tellapart.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "verbs = {m for m in sys.modules if m.startswith('tellapart.cli.') and not m.startswith('tellapart.cli._')}\n"
        "assert verbs == {'tellapart.cli.parts'}, verbs\n"
        "assert 'torch' not in sys.modules and 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)


def test_version_is_the_package_version():
    assert process("--version").stdout.split() == ["tellapart", tellapart.__version__]


def test_a_wrong_verb_is_answered_with_a_near_one():
    ran = process("partz")
    assert ran.returncode == 2 and "parts" in ran.stderr and "Traceback" not in ran.stderr


def test_a_mistake_is_one_line_and_exit_code_2():
    ran = process("explain", "inofnce")
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("tellapart: there is no part named 'inofnce'; did you mean infonce")
    assert ran.stderr.count("\n") == 1


def test_ctrl_c_while_it_is_imported_ends_it_without_a_traceback():
    code = (
        "import importlib.abc, os, signal, sys\n"
        "class Interrupts(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tellapart.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "from tellapart.__main__ import main\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == -signal.SIGINT and ran.stderr == ""


def test_a_reader_that_goes_away_is_no_failure():
    code = "from tellapart.cli import main; main()"
    command = f'"{sys.executable}" -c "{code}" parts --json | head -c 1'
    ran = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60)
    assert ran.stderr == "" and ran.returncode == 0


def raising(error: BaseException):
    def verb() -> None:
        raise error

    return cli.in_words(verb)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("the column\n 'x' is missing"), "tellapart: the column 'x' is missing\n"),
        (MissingExtraError("run: pip install x"), "tellapart: run: pip install x\n"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "runs/latest"), "runs/latest: the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: no permission"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "nothing.png"),
            "nothing.png: there is no such file or folder",
        ),
        (MemoryError(), "not enough memory"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else "",
)
def test_what_words_can_explain_ends_in_words(capsys, error, words):
    with pytest.raises(cli.typer.Exit) as ended:
        raising(error)()
    assert ended.value.exit_code == 2
    shown = capsys.readouterr().err
    assert words in shown and shown.count("\n") == 1


def test_an_interruption_says_how_to_go_on(capsys):
    with pytest.raises(cli.typer.Exit) as ended:
        raising(KeyboardInterrupt())()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())()


def test_parts_lists_every_part_and_json_is_a_list_of_objects():
    shown = run("parts").output
    held = json.loads(run("parts", "--json").output)
    assert {part["name"] for part in held} == set(cards())
    assert all(part["name"] in shown for part in held)
    only = json.loads(run("parts", "objective", "--json").output)
    assert {part["name"] for part in only} == set(cards("objective"))


def test_a_wrong_shape_is_refused():
    ran = run("parts", "objectiv")
    assert ran.exit_code == 2 and "did you mean objective" in ran.stderr


def test_systems_are_read_off_the_cards():
    held = json.loads(run("parts", "--systems", "--json").output)
    named = {slug for card in cards().values() for slug in card.system}
    assert {row["system"] for row in held} == named
    for row in held:
        assert set(row) == {"system", "parts", "oracle", "evidence", "verdict"}
        assert all(row["system"] in cards()[part].system for part in row["parts"])
        assert isinstance(row["oracle"], bool) and isinstance(row["evidence"], bool)
    shown = run("parts", "--systems").output
    assert all(row["system"] in shown for row in held)


def test_systems_follow_what_lies_on_the_disk(tmp_path, monkeypatch):
    folder = tmp_path / "score"
    folder.mkdir()
    card = '@part(paper="p", place="detect", system="a-system")'
    source = f'from tellapart.core.parts import part\n\n{card}\ndef lonely():\n    """One."""\n'
    (folder / "lonely.py").write_text(source)
    monkeypatch.setenv("TELLAPART_PARTS", str(tmp_path))

    def row():
        return next(r for r in json.loads(run("parts", "--systems", "--json").output) if r["system"] == "a-system")

    assert row() == {"system": "a-system", "parts": ["lonely"], "oracle": False, "evidence": False, "verdict": ""}
    (tmp_path / "oracles").mkdir()
    (tmp_path / "oracles" / "lonely.py").write_text("CASES = [{}]\n")
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "lonely.json").write_text('{"verdict": "helps", "rows": []}')
    assert row() == {"system": "a-system", "parts": ["lonely"], "oracle": True, "evidence": True, "verdict": "helps"}
    (tmp_path / "evidence" / "lonely.json").write_text("{")
    broken = run("parts", "--systems")
    assert broken.exit_code == 2 and "not readable JSON" in broken.stderr


@pytest.mark.parametrize("part", sorted(cards()))
def test_explain_shows_the_whole_card(part):
    card = cards()[part]
    held = json.loads(run("explain", part, "--json").output)
    texts = [b["text"] for b in held["blocks"] if b["block"] == "text"]
    assert held["title"].startswith(f"{part}: ") and card.paper in texts
    options = [row[0] for b in held["blocks"] if b["block"] == "table" and b["title"] == "Options" for row in b["rows"]]
    assert options == [o.name for o in card.options]
    for alias in card.aliases:
        assert json.loads(run("explain", alias, "--json").output)["title"] == held["title"]


def test_doctor_names_what_is_missing_and_how_to_get_it(monkeypatch):
    from tellapart.cli import doctor as module

    monkeypatch.setattr(module, "installed", lambda name: name not in ("torch", "fastapi"))
    held = json.loads(run("doctor", "--json").output)
    extras = next(b for b in held["blocks"] if b["block"] == "table" and b["title"] == "Extras")["rows"]
    said = {row[0]: row[1:] for row in extras}
    assert said["train"] == ["not installed", "pip install 'tellapart[train]'"]
    assert said["serve"][0] == "lacks fastapi"
    assert said["ann"] == ["installed", ""]
    assert any("torchvision" in b.get("text", "") for b in held["blocks"])


def test_shapes_in_the_help_are_the_shapes():
    assert all(shape in run("new", "--help").output for shape in SHAPES)
