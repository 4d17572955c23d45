"""Indexes whose engine keeps files in this process: each that is filled or opened has a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tellapart.core.vectors import READING
from tellapart.parts.index._remote import RemoteIndex

BYTES_A_PIECE = 2**22


class FolderIndex(RemoteIndex):
    """A `RemoteIndex` over files of an engine. What is saved is never written to, nor taken away from who reads it.

    A part says what its engine's files are called (`form`), whether the engine leaves files as they are once written
    (`linked`: then a folder of links is opened, not a copy), and how a folder is opened (`_at`). TMPDIR says where
    the files of a new index lie until it is saved.
    """

    form: str
    linked: bool

    def _at(self, place: str, name: str, dim: int | None) -> Any:
        """The store in a folder: a new one of this width, or the one that is there."""
        raise NotImplementedError

    @property
    def _elsewhere(self) -> bool:
        return False

    def _make(self, name: str, dim: int) -> Any:
        return self._at(tempfile.mkdtemp(prefix=f"tellapart-{self.form}-"), name, dim)

    def _open(self, version: Path, facts: dict[str, Any]) -> Any:
        own = version.parent / f"{READING}{secrets.token_hex(4)}-{os.getpid()}"
        try:
            own.mkdir()
        except OSError:
            own = Path(tempfile.mkdtemp(prefix=f"tellapart-{self.form}-"))
        try:
            shutil.copytree(version / self.form, own, dirs_exist_ok=True, copy_function=_link if self.linked else _copy)
            return self._at(str(own), facts["name"], None)
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise

    def _keep(self, version: Path) -> None:
        if self._elsewhere:
            return
        self._store.settle()
        shutil.copytree(self._store.place, version / self.form, copy_function=_copy)
        for folder, _, _ in os.walk(version / self.form):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def _copy(source: str, target: str) -> None:
    """Copy what was written: engines lay files out in advance, and most of a small one is a hole."""
    if not hasattr(os, "SEEK_DATA"):
        shutil.copyfile(source, target)
        return
    with open(source, "rb") as old, open(target, "wb") as new:
        size, end = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while end < size:
            try:
                start = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            old.seek(start)
            new.seek(start)
            for at in range(start, end, BYTES_A_PIECE):
                new.write(old.read(min(BYTES_A_PIECE, end - at)))
