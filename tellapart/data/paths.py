"""Paths that came from outside: kept below the folder they belong to, or refused with the reason."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tellapart.core.errors import DataError
from tellapart.data.limits import FILES, NAME_CHARS

ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
DRIVE = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")
LEFT_OUT = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"}


def below(root: Path, value: str) -> str:
    """The path of a file relative to its root folder, with `/`; the file exists.

    Raises:
        DataError: an address, a path out of the folder (`..`, absolute, a link), or no such file.
    """
    if ADDRESS.match(value) or value.startswith("data:"):
        raise DataError("an address, not a file: download the pictures first and give their paths")
    if "\0" in value or len(value) > NAME_CHARS * 4:
        raise DataError("not a path that a file can have")
    if ".." in re.split(r"[\\/]", value):
        raise DataError(f"the path {value!r} leads out of the folder with '..'; give paths below {root}")
    absolute = os.path.isabs(value) or bool(DRIVE.match(value))
    base = root.resolve()
    for spelling in _spellings(value):
        full = Path(spelling) if absolute else base / spelling
        try:
            if not full.exists():
                continue
            resolved = full.resolve()
        except (OSError, ValueError):
            continue
        if not resolved.is_relative_to(base):
            way = "is absolute and" if absolute else "is a link that"
            raise DataError(
                f"the path {value!r} {way} leads out of the folder {root}; put the table into the folder of the "
                f"pictures, or name that folder in Python with root="
            )
        if not resolved.is_file():
            raise DataError(f"{value!r} is not a file")
        return resolved.relative_to(base).as_posix() if absolute else os.path.normpath(spelling).replace(os.sep, "/")
    if absolute:
        raise DataError(f"the path {value!r} is absolute and there is no such file below {root}")
    raise DataError(f"there is no file {value!r} in {root}")


def walk(root: Path) -> Iterator[Path]:
    """The files below a folder in one fixed order, without hidden ones and what systems leave behind; links to folders
    are not followed."""
    count = 0
    for folder, names, files in os.walk(root, followlinks=False):
        names[:] = sorted(n for n in names if not n.startswith(".") and n.lower() not in LEFT_OUT)
        for name in sorted(files):
            if name.startswith(".") or name.lower() in LEFT_OUT:
                continue
            count += 1
            if count > FILES:
                raise DataError(f"{root} holds more than {FILES:,} files; give a table of those that are wanted")
            yield Path(folder, name)


def _spellings(value: str) -> Iterator[str]:
    """A path as written, with `/` for a backslash, and composed or decomposed as other systems write accents."""
    seen = set()
    for slashed in (value, value.replace("\\", "/")):
        for form in (slashed, unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)):
            if form not in seen:
                seen.add(form)
                yield form
