"""What was added, changed and deleted while a run was served: on the disk before anybody is told that it was taken.

One row an item, its latest state; a number that only grows says what came after what. A run that is made anew, or an
index that is built anew, starts from these rows again, so folding them into a served version takes none of them away
but those of deleted items that the run never had.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.server.limits import ID_CHARACTERS, UPLOAD_BYTES, BusyError, TooLargeError

FILE = "journal.sqlite"
SCHEMA = 1
COLUMNS_BYTES = 12 * 2**20
VECTOR_WIDTH = 1 << 16
JOURNAL_BYTES = 64 * 2**30
PAGE = 4096
PATIENCE = 10.0
IDS_A_QUERY = 500

_TABLES = (
    f"""CREATE TABLE items (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND {ID_CHARACTERS}),
        gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
        patch INTEGER NOT NULL CHECK (patch IN (0, 1)),
        columns TEXT NOT NULL CHECK (length(columns) <= {COLUMNS_BYTES}),
        vector BLOB CHECK (length(vector) <= {4 * VECTOR_WIDTH}),
        model TEXT NOT NULL CHECK (length(model) <= 64),
        file BLOB CHECK (length(file) <= {UPLOAD_BYTES}))""",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value NOT NULL)",
)
_FIELDS = "seq, id, gone, patch, columns, vector, model, file IS NOT NULL"


@dataclass(frozen=True)
class Change:
    """The latest state of an item that was added, changed or deleted.

    Attributes:
        gone: whether it was deleted; nothing else counts then.
        patch: whether it stands in the run, so that columns that are not here are those of the run.
        columns: plain values by column.
        vector: [d] float32 of length 1; None: that of the run.
        model: what made the vector.
        file: the bytes of a picture or a window; not read with the rest, see `Journal.file`.
        filed: whether there are such bytes.
        seq: its place among all changes; 0 before it is written.
    """

    id: str
    gone: bool = False
    patch: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
    vector: np.ndarray | None = None
    model: str = ""
    file: bytes | None = None
    filed: bool = False
    seq: int = 0


class Journal:
    """The journal of a run folder; it is made with the first change.

    Several threads and processes may read and write at once: a reader never waits, one writes at a time.

    Raises:
        DataError: (any call) a file that is damaged or was written by a later version, or no room on the disk; then
            nothing was written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE
        self._reading, self._writing = threading.Lock(), threading.RLock()
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    @property
    def name(self) -> str:
        """What tells this journal from another; "" before the first change."""
        return str(self._fact("name") or "")

    def position(self) -> tuple[int, int]:
        """The number of the latest change, and up to which one deleted items may be missing; 0 before the first."""
        with self._read() as reader:
            return (0, 0) if reader is None else _position(reader)

    def since(self, seq: int) -> tuple[int, list[Change]]:
        """(number of the latest change, the changes after `seq` in their order), without the bytes of files."""
        with self._read() as reader:
            if reader is None:
                return 0, []
            reader.execute("BEGIN")
            try:
                return _position(reader)[0], _since(reader, seq)
            finally:
                reader.execute("ROLLBACK")

    def files(self) -> dict[str, int]:
        """Of the items with a picture or a window here: the number of their latest change."""
        with self._read() as reader:
            if reader is None:
                return {}
            return dict(reader.execute("SELECT id, seq FROM items WHERE file IS NOT NULL AND NOT gone"))

    def file(self, id_: str) -> bytes | None:
        """The bytes of the picture or window that an item was given."""
        with self._read() as reader:
            return None if reader is None else _file(reader, id_)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Changes that are all written or not at all: when this ends, they are on the disk.

        Raises:
            BusyError: another process writes for too long.
        """
        with self._writing, _in_words(self.path):
            writer = self._open_writer()
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield Writing(writer)
                writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    if writer.in_transaction:
                        writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._reading, self._writing:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def _fact(self, name: str) -> Any:
        with self._read() as reader:
            if reader is None:
                return None
            found = reader.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return found[0] if found else None

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        with self._reading, _in_words(self.path):
            if self._reader is None and self.path.is_file():
                self._reader = self._checked(_connect(self.path))
            yield self._reader

    def _checked(self, connection: sqlite3.Connection) -> sqlite3.Connection | None:
        """The connection; None where the first change has not been written yet."""
        try:
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            if schema > SCHEMA:
                raise DataError(f"{self.path} was written by a later version of tellapart: update tellapart")
        except BaseException:
            connection.close()
            raise
        if schema == SCHEMA:
            return connection
        connection.close()
        return None

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            made = _connect(self.path)
            try:
                made.execute("PRAGMA journal_mode = WAL")
                made.execute("PRAGMA synchronous = FULL")
                made.execute(f"PRAGMA max_page_count = {max(JOURNAL_BYTES // PAGE, 1)}")
                _create(made)
            except BaseException:
                made.close()
                raise
            checked = self._checked(made)
            assert checked is not None
            self._writer = checked
            _sync(self.path.parent)
        return self._writer


class Writing:
    """What can be asked and written between the beginning and the end of some changes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def position(self) -> tuple[int, int]:
        """As `Journal.position`."""
        return _position(self._connection)

    def since(self, seq: int) -> tuple[int, list[Change]]:
        """As `Journal.since`."""
        return _position(self._connection)[0], _since(self._connection, seq)

    def latest(self, ids: Sequence[str]) -> dict[str, Change]:
        """The latest change of each of these items that has one."""
        found: dict[str, Change] = {}
        for start in range(0, len(ids), IDS_A_QUERY):
            some = list(ids[start : start + IDS_A_QUERY])
            marks = ", ".join("?" * len(some))
            rows = self._connection.execute(f"SELECT {_FIELDS} FROM items WHERE id IN ({marks})", some)
            found |= {change.id: change for change in map(_change, rows)}
        return found

    def file(self, id_: str) -> bytes | None:
        """As `Journal.file`."""
        return _file(self._connection, id_)

    def write(self, changes: Iterable[Change]) -> list[Change]:
        """Write the latest state of items; the same changes with their numbers."""
        written = []
        for change in changes:
            columns = json.dumps(change.columns, ensure_ascii=True, allow_nan=False)
            vector = None if change.vector is None else np.ascontiguousarray(change.vector, "<f4").tobytes()
            cursor = self._connection.execute(
                "INSERT OR REPLACE INTO items (id, gone, patch, columns, vector, model, file) VALUES (?,?,?,?,?,?,?)",
                (change.id, change.gone, change.patch, columns, vector, change.model, change.file),
            )
            assert cursor.lastrowid is not None
            values = {**vars(change), "file": None, "filed": change.file is not None, "seq": cursor.lastrowid}
            written.append(Change(**values))
        return written

    def prune(self, seq: int, kept: Callable[[str], bool]) -> None:
        """Take away the deleted items up to a change; those that `kept` says are needed stay."""
        rows = self._connection.execute("SELECT id FROM items WHERE gone AND seq <= ?", (seq,)).fetchall()
        self._connection.executemany("DELETE FROM items WHERE id = ?", [row for row in rows if not kept(row[0])])
        self._connection.execute("UPDATE facts SET value = max(value, ?) WHERE name = 'pruned'", (seq,))


def _connect(path: Path) -> sqlite3.Connection:
    # a file that this process may not write can still be read where nobody writes it
    still = path.is_file() and not os.access(path, os.W_OK)
    uri = f"{path.absolute().as_uri()}{'?immutable=1' if still else ''}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _create(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0]:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            for table in _TABLES:
                connection.execute(table)
            connection.execute("INSERT INTO facts VALUES ('name', ?), ('pruned', 0)", (uuid.uuid4().hex,))
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _position(connection: sqlite3.Connection) -> tuple[int, int]:
    row = connection.execute(
        "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'items'), (SELECT value FROM facts WHERE name = 'pruned')"
    ).fetchone()
    return row[0] or 0, row[1] or 0


def _since(connection: sqlite3.Connection, seq: int) -> list[Change]:
    rows = connection.execute(f"SELECT {_FIELDS} FROM items WHERE seq > ? ORDER BY seq", (seq,))
    return [_change(row) for row in rows]


def _file(connection: sqlite3.Connection, id_: str) -> bytes | None:
    found = connection.execute("SELECT file FROM items WHERE id = ? AND NOT gone", (id_,)).fetchone()
    return None if found is None else found[0]


def _change(row: Sequence[Any]) -> Change:
    seq, id_, gone, patch, columns, vector, model, filed = row
    try:
        z = None if vector is None else np.frombuffer(vector, "<f4").astype(np.float32)
        return Change(id_, bool(gone), bool(patch), dict(json.loads(columns)), z, model, None, bool(filed), seq)
    except (ValueError, TypeError) as error:
        raise DataError(f"{FILE} is damaged at the item {id_!r}: {error}") from None


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        said = str(error)
        if "locked" in said or "busy" in said:
            raise BusyError("another process is writing to this run; try again in a moment") from None
        if isinstance(error, sqlite3.IntegrityError):
            raise TooLargeError(f"an item is larger than the journal takes: {said}") from None
        if "full" in said:
            raise DataError(
                f"there is no room for this: the disk of {path.parent} is full, or the journal has its "
                f"{JOURNAL_BYTES // 2**30} GiB. Nothing was written"
            ) from None
        if "readonly" in said or "unable to open" in said:
            raise DataError(f"{path} cannot be written, so nothing can be changed here: {said}") from None
        if isinstance(error, sqlite3.OperationalError):
            raise DataError(f"{path} could not be read or written: {said}. Nothing was written") from None
        raise DataError(
            f"{path} is damaged: {said}. Put a copy of it back, or remove it and lose its changes"
        ) from None


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
