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
            shutil.copytree(
                version / self.form, own, dirs_exist_ok=True, copy_function=_link if self.linked else shutil.copy2
            )
            return self._at(str(own), facts["name"], None)
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise

    def _keep(self, version: Path) -> None:
        if self._elsewhere:
            return
        self._store.settle()
        shutil.copytree(self._store.place, version / self.form)
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
        shutil.copy2(source, target)
