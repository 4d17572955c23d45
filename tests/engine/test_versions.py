"""A run folder and its versions: exchanged in one step, kept as they were, whatever is killed when."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tellapart.core.errors import DataError
from tellapart.engine import versions

KILLED = """
import hashlib, os, signal, sys
from pathlib import Path
from tellapart.engine import versions

root = Path(sys.argv[1])

def tree(folder):
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()

def make(folder):
    for name, text in (("model/model.json", "old"), ("index/current.json", "one"), ("collection/data", "items")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return tree(folder)

def upgrade(folder):
    made = versions.begin(folder, without=("model",))
    (made / "model").mkdir()
    (made / "model" / "model.json").write_text("new")
    versions.finish(folder, made, {"part": "ridge"})

def dying(at):
    calls = [0]
    def wrap(function):
        def called(*arguments, **options):
            calls[0] += 1
            if calls[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            found = function(*arguments, **options)
            if function is exchange and calls[0] + 1 == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return found
        return called
    exchange = versions.exchange
    for name in ("rename", "link", "replace", "mkdir", "rmdir"):
        setattr(os, name, wrap(getattr(os, name)))
    versions.exchange = wrap(exchange)

def killed(act, folder, at):
    child = os.fork()
    if not child:
        dying(at)
        act(folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0

seen = set()
for act in ("up", "back", "forget"):
    for at in range(1, 100):
        folder = root / f"{act}{at}" / "run"
        old = make(folder)
        if act != "up":
            upgrade(folder)
        before = tree(folder)
        calls = {"up": upgrade, "back": versions.back, "forget": versions.forget}
        died = killed(calls[act], folder, at)
        after = tree(folder)
        assert (folder / "model" / "model.json").read_text() in ("old", "new")
        if act == "up":
            assert (after == old) == (versions.facts_of(folder) is None)
            if after == old:
                upgrade(folder)
            versions.back(folder)
            assert tree(folder) == old, (act, at)
        elif act == "back":
            assert after in (old, before), (act, at)
            if after == before:
                versions.back(folder)
            assert tree(folder) == old, (act, at)
        else:
            assert after == before, (act, at)
            versions.forget(folder)
            assert not [p for p in versions.kept_in(folder).glob("v*")], (act, at)
        if not died:
            seen.add((act, at > 1))
            break
assert seen == {("up", True), ("back", True), ("forget", True)}, seen
"""


def make(folder: Path, model: str = "old") -> Path:
    for name, text in (("model/model.json", model), ("index/current.json", "one"), ("collection/data", "items")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "marks.jsonl").write_text("a mark\n")
    return folder


def upgrade(folder: Path, model: str = "new") -> None:
    made = versions.begin(folder, without=("model",))
    (made / "model").mkdir()
    (made / "model" / "model.json").write_text(model)
    versions.finish(folder, made, {"part": "ridge"})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_killed_anywhere_the_old_version_or_the_new_one_is_there(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, timeout=120)


def test_there_and_back_bit_for_bit(tmp_path):
    folder = make(tmp_path / "run")
    before = tree(folder)
    upgrade(folder)
    upgrade(folder, "newer")
    assert versions.number_of(folder) == 3
    assert (folder / "marks.jsonl").read_text() == "a mark\n"
    (folder / "marks.jsonl").write_text("another\n")
    assert versions.back(folder)["part"] == "ridge"
    assert (folder / "model" / "model.json").read_text() == "new"
    versions.back(folder)
    assert tree(folder) == before, "what was written into a later version reached an earlier one"
    assert [p.name for p in versions.kept(folder)] == ["v0002", "v0003"]
    with pytest.raises(DataError, match="no upgrade to take back"):
        versions.back(folder)
    assert versions.forget(folder) == 2
    assert tree(folder) == before and not versions.kept_in(folder).exists()


def test_what_cannot_be_taken_back_is_said(tmp_path):
    folder = make(tmp_path / "run")
    upgrade(folder)
    versions.forget(folder)
    with pytest.raises(DataError, match="forgotten or moved"):
        versions.back(folder)
    make(folder, "made anew")
    assert versions.facts_of(folder) is None, "a run that was made anew is no upgraded one"
    (folder / versions.FILE).write_text("[")
    with pytest.raises(DataError, match="damaged"):
        versions.back(folder)


def test_items_taken_since_are_not_left_behind_in_silence(tmp_path):
    folder = make(tmp_path / "run")
    with sqlite3.connect(folder / "journal.sqlite") as held:
        held.execute("PRAGMA journal_mode=WAL")
        held.execute("CREATE TABLE items (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT)")
        held.execute("INSERT INTO items (id) VALUES ('a')")
    upgrade(folder)
    with sqlite3.connect(folder / "journal.sqlite") as copy:
        assert copy.execute("SELECT id FROM items").fetchall() == [("a",)]
        copy.execute("INSERT INTO items (id) VALUES ('b')")
    copy.close()
    assert held.execute("SELECT count(*) FROM items").fetchone() == (1,), "the journals are one file"
    held.close()
    with pytest.raises(DataError, match="1 changes of items"):
        versions.back(folder)
    versions.back(folder, anyway=True)
    assert (folder / "model" / "model.json").read_text() == "old"


def test_a_file_system_that_cannot_exchange_changes_nothing(tmp_path, monkeypatch):
    folder = make(tmp_path / "run")
    before = tree(folder)

    def refuses(one, other):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(versions, "exchange", refuses)
    with pytest.raises(DataError, match="nothing was changed"):
        upgrade(folder)
    assert tree(folder) == before and not versions.kept(folder)


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    folder = make(tmp_path / "run")
    before = tree(folder)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(versions.shutil, "copy2", full)
    with pytest.raises(DataError, match="No space left"):
        upgrade(folder)
    assert tree(folder) == before and not versions.kept_in(folder).exists()


def test_facts_name_the_version_before(tmp_path):
    folder = make(tmp_path / "run")
    name = versions.identity(folder)
    upgrade(folder)
    assert json.loads((folder / versions.FILE).read_text())["before"] == name
    assert versions.identity(versions.kept(folder)[0]) == name
