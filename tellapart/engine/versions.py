"""Versions of a run folder: a new one takes the place of the one that was there in a single step, which is kept beside.

`runs/mine` is what is served, `runs/mine.versions/` holds the others, whole folders each. Files that nobody writes in
place are shared between versions by hard links; data bases are copied.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically

FILE, SUFFIX, MAKING = "upgrade.json", ".versions", ".making-"
MOST_BYTES = 1 << 20
SHARED = ("collection", "corpus", "index", "regions", "sides", "training")
DATABASES = (".sqlite", ".db")
NAMED_BY = ("model/model.json", "index/index.json", "index/current.json", FILE)
JOURNAL = "journal.sqlite"


def kept_in(folder: Path) -> Path:
    """Where the other versions of a run folder lie."""
    return folder.with_name(folder.name + SUFFIX)


def kept(folder: Path) -> list[Path]:
    """The other versions, by name."""
    place = kept_in(folder)
    return sorted(p for p in place.iterdir() if p.is_dir() and p.name[0] != ".") if place.is_dir() else []


def identity(folder: Path) -> str:
    """Names a version by what its model, its index and its facts are."""
    digest = hashlib.sha256()
    for name in NAMED_BY:
        file = folder / name
        digest.update(file.read_bytes() if file.is_file() else b"-")
    return digest.hexdigest()[:24]


def facts_of(folder: Path) -> dict[str, Any] | None:
    """What an upgrade wrote of itself; None where the folder is no upgraded run, or was made anew since."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        facts = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or not isinstance(facts.get("before"), str) or facts.get("format") != 1:
            raise ValueError("it holds no facts of an upgrade that this tellapart knows")
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is damaged: {error}. Versions that are kept lie in {kept_in(folder)}") from None
    return facts if facts.get("model") == _model(folder) else None


def begin(folder: Path, *, without: Iterable[str] = ()) -> Path:
    """A folder to make the next version in, beside the others, with all of this one but what is named."""
    made = kept_in(folder) / f"{MAKING}{os.getpid()}"
    try:
        for left in made.parent.glob(f"{MAKING}*"):
            if not _alive(left.name.removeprefix(MAKING)):
                shutil.rmtree(left, ignore_errors=True)
        made.mkdir(parents=True)
        for entry in sorted(folder.iterdir()):
            if entry.name not in {*without, FILE}:
                _take(entry, made / entry.name, shared=entry.name in SHARED)
    except (OSError, sqlite3.Error) as error:
        drop(made)
        raise DataError(f"a new version of {folder} cannot be written: {error}") from None
    return made


def drop(made: Path) -> None:
    """Take away what was begun."""
    shutil.rmtree(made, ignore_errors=True)
    with contextlib.suppress(OSError):
        made.parent.rmdir()


def finish(folder: Path, made: Path, facts: dict[str, Any]) -> None:
    """Put what was made in the place of the run folder, in one step; what was there is kept.

    Raises:
        DataError: the file system cannot exchange two folders; nothing has changed then.
    """
    number = 1 + max(map(number_of, (folder, *kept(folder))))
    told = {"format": 1, "number": number, "before": identity(folder), "model": _model(made), **facts}
    write_atomically(made / FILE, json.dumps(told, indent=2).encode())
    place = made.with_name(f"v{number:04d}")
    before = number_of(folder)
    os.rename(made, place)
    try:
        exchange(folder, place)
    except OSError as error:
        drop(place)
        raise DataError(
            f"{folder} cannot be exchanged for its new version in one step ({error.strerror}); nothing was changed. "
            "Keep runs on a local disk of Linux or macOS, and not at a mount point itself"
        ) from None
    _named(place, before)


def back(folder: Path, *, anyway: bool = False) -> dict[str, Any]:
    """Put the version before the last upgrade or backfill in its place again, as it was; gives the facts of that step.

    Raises:
        DataError: nothing to go back to; or items were taken since, which would be left behind.
    """
    facts = facts_of(folder)
    if facts is None:
        raise DataError(f"{folder} is as `tellapart run` made it: there is no upgrade to take back")
    found = [place for place in kept(folder) if identity(place) == facts["before"]]
    if not found:
        raise DataError(f"the version before this one is not in {kept_in(folder)}: it was forgotten or moved")
    if not anyway and (since := _taken(folder) - _taken(found[0])) > 0:
        raise DataError(
            f"{since} changes of items were taken since this upgrade and would stay behind in {kept_in(folder)}; "
            "go back all the same with --anyway"
        )
    exchange(folder, found[0])
    _named(found[0], int(facts["number"]))
    return facts


def forget(folder: Path) -> int:
    """Delete the other versions; gives how many there were."""
    found = kept(folder)
    for place in found:
        gone = place.with_name(f"{MAKING}gone-{place.name}")
        os.rename(place, gone)
        shutil.rmtree(gone)
    if kept_in(folder).is_dir():
        drop(kept_in(folder) / MAKING)
    return len(found)


def number_of(folder: Path) -> int:
    """The number of a version; what `tellapart run` made is 1."""
    facts = facts_of(folder)
    return 1 if facts is None else int(facts.get("number", 1))


def exchange(one: Path, other: Path) -> None:
    """Two folders take each other's place, in a single step of the file system."""
    libc = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):
        here = ctypes.c_int(-100)
        failed = libc.renameat2(here, ctypes.c_char_p(a), here, ctypes.c_char_p(b), ctypes.c_uint(2))
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(ctypes.c_char_p(a), ctypes.c_char_p(b), ctypes.c_uint(2))
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _named(place: Path, number: int) -> None:
    """Call a kept version by its number; what it is called does not matter, so a kill before this does not either."""
    wanted = place.with_name(f"v{number:04d}")
    if wanted != place and not wanted.exists():
        os.rename(place, wanted)


def _take(source: Path, target: Path, *, shared: bool) -> None:
    if source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            _take(entry, target / entry.name, shared=shared)
    elif source.suffix in DATABASES:
        with contextlib.closing(_reading(source)) as held, contextlib.closing(sqlite3.connect(target)) as copy:
            held.backup(copy)
    elif source.name.endswith(("-wal", "-shm")):
        return
    else:
        if shared:
            with contextlib.suppress(OSError):
                os.link(source, target)
                return
        shutil.copy2(source, target)


def _taken(folder: Path) -> int:
    """How many changes the journal of a served run has taken."""
    file = folder / JOURNAL
    if not file.is_file():
        return 0
    try:
        with contextlib.closing(_reading(file)) as held:
            row = held.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
    except sqlite3.Error:
        return 0
    return int(row[0]) if row else 0


def _model(folder: Path) -> str:
    file = folder / "model" / "model.json"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:24] if file.is_file() else ""


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return True


def _reading(file: Path) -> sqlite3.Connection:
    """A data base opened to be read, which changes nothing in its folder."""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
