"""What came in and is like nothing stored, and how much of what came in was: kept within bounds, for all processes."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.core.errors import DataError

FILE = "unknown.sqlite"
MOST = 2_000
MOST_BYTES = 128 * 2**20
PAGE = 4096
HOURS = 90 * 24
PATIENCE = 5.0
LABEL_CHARACTERS = 200
KEY_CHARACTERS = 80
# beside the ten bins of the score
UNKNOWN = 10

_TABLES = (
    """CREATE TABLE IF NOT EXISTS unknown (
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL, item TEXT NOT NULL, picture BLOB, vector BLOB,
        model TEXT NOT NULL, score REAL NOT NULL, count INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
        label TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS hours (
        hour INTEGER NOT NULL, kind TEXT NOT NULL, place INTEGER NOT NULL, model TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (hour, kind, place, model))""",
)
_FIELDS = "key, kind, text, item, picture IS NOT NULL, vector, score, count, first, last, label"


@dataclass(frozen=True)
class Unknown:
    """Something that came in and is like nothing stored.

    Attributes:
        key: of its content; the same that comes again is counted, and kept once.
        kind: `words`, `pictures` or `items`.
        text, item: what was asked, or the id of the item that was added; empty otherwise.
        pictured: whether a small picture of it is kept.
        vector: [d] float32; None: it was made by an earlier model.
        score: higher = more unknown; compares within a kind.
        first, last: when it came, in seconds since 1970.
        label: what somebody named it; empty before.
    """

    key: str
    kind: str
    text: str
    item: str
    pictured: bool
    vector: np.ndarray | None
    score: float
    count: int
    first: float
    last: float
    label: str


class Unknowns:
    """The file of a run folder that holds them; several threads and processes may use it.

    At most `MOST` are kept: those that came longest ago and have no label make room, then those with one.

    Args:
        folder: it lies in here.
        model: what makes the vectors and scores now. Counts of another are not shown.

    Raises:
        DataError: (any call) the file cannot be read or written.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self.file, self.model = folder / FILE, model
        self._lock = threading.Lock()
        with self._open() as held:
            for table in _TABLES:
                held.execute(table)
            held.execute("DELETE FROM unknown WHERE model != ? AND label = ''", (model,))

    def add(self, found: Iterable[tuple[Unknown, bytes | None]], counts: dict[tuple[int, str, int], int]) -> None:
        """Keep what is unknown, each with its small picture, and count by (hour, kind, bin)."""
        with self._open() as held:
            for each, picture in found:
                vector = None if each.vector is None else np.asarray(each.vector, "<f4").tobytes()
                held.execute(
                    "INSERT INTO unknown VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(key) DO UPDATE SET "
                    "count = count + excluded.count, last = excluded.last, score = excluded.score, "
                    "vector = excluded.vector, model = excluded.model",
                    (each.key, each.kind, each.text, each.item, picture, vector, self.model, each.score, each.count,
                     each.first, each.last, each.label),
                )  # fmt: skip
            oldest = "SELECT key FROM unknown ORDER BY label = '', last DESC LIMIT -1 OFFSET ?"
            held.execute(f"DELETE FROM unknown WHERE key IN ({oldest})", (MOST,))
            held.executemany(
                "INSERT INTO hours VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                [(hour, kind, place, self.model, count) for (hour, kind, place), count in counts.items()],
            )
            held.execute("DELETE FROM hours WHERE hour < ?", (int(time.time() // 3600) - HOURS,))

    def all(self) -> list[Unknown]:
        """What is kept, the latest first."""
        with self._open() as held:
            rows = held.execute(f"SELECT {_FIELDS}, model FROM unknown ORDER BY last DESC, key").fetchall()
        return [
            Unknown(
                *row[:4], bool(row[4]),
                np.frombuffer(row[5], "<f4") if row[5] is not None and row[11] == self.model else None, *row[6:11],
            )
            for row in rows
        ]  # fmt: skip

    def hours(self) -> dict[tuple[int, str], list[int]]:
        """By hour (since 1970) and kind: counts of ten bins of the score, and of what was unknown."""
        with self._open() as held:
            rows = held.execute("SELECT hour, kind, place, count FROM hours WHERE model = ?", (self.model,)).fetchall()
        found: dict[tuple[int, str], list[int]] = {}
        for hour, kind, place, count in rows:
            found.setdefault((hour, kind), [0] * (UNKNOWN + 1))[place] = count
        return dict(sorted(found.items()))

    def picture(self, key: str) -> bytes | None:
        """The small picture of one, as WebP; None where there is none."""
        with self._open() as held:
            row = held.execute("SELECT picture FROM unknown WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def label(self, keys: Sequence[str], label: str) -> int:
        """Name these; an empty label takes the name away. How many there were.

        Raises:
            DataError: the label is too long, or has characters that end a line.
        """
        label = label.strip()
        if len(label) > LABEL_CHARACTERS or not label.isprintable():
            raise DataError(f"a label has at most {LABEL_CHARACTERS} characters, on one line")
        with self._open() as held:
            return sum(
                held.execute("UPDATE unknown SET label = ? WHERE key = ?", (label, key)).rowcount for key in keys
            )

    def forget(self, keys: Sequence[str]) -> int:
        """Take these away. How many there were."""
        with self._open() as held:
            return sum(held.execute("DELETE FROM unknown WHERE key = ?", (key,)).rowcount for key in keys)

    def __len__(self) -> int:
        with self._open() as held:
            return int(held.execute("SELECT count(*) FROM unknown").fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, contextlib.closing(sqlite3.connect(self.file, timeout=PATIENCE)) as held:
                held.execute("PRAGMA journal_mode = WAL")
                held.execute(f"PRAGMA max_page_count = {MOST_BYTES // PAGE}")
                with held:
                    yield held
        except (sqlite3.Error, OSError) as error:
            raise DataError(f"{self.file} cannot be used: {error}") from None
