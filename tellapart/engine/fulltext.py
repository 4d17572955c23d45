"""Full-text search by words as they stand, on SQLite's FTS5: beside the vectors, for names, codes and rare words.

    text = FullText.open("runs/latest/fulltext")
    hits = text.search("brass valve DN50", 10)

Scores are BM25 as FTS5 computes it (k1 1.2, b 0.75, an inverse document frequency of at least 1e-6). Case and
diacritics do not count. Words are what Unicode calls letters and digits: languages that write without spaces between
words (Chinese, Japanese, Thai) are found by whole runs of signs only.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection, Sides
from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.progress import Progress
from tellapart.core.report import Figure
from tellapart.core.vectors import CURRENT, Filter, read_version, saved_facts, write_version

FOLDER, FILE = "fulltext", "text.db"
MOST_WORDS = 256
MOST_CHARACTERS = 1_000_000
ROWS_A_BLOCK = 1000
TOKENIZER = "unicode61 remove_diacritics 2"
TABLES = (
    "CREATE TABLE items (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
    "CREATE VIRTUAL TABLE words USING fts5(text, tokenize = '{}')",
)
FIND = (
    "SELECT items.id, bm25(words) AS score FROM words JOIN items ON items.row = words.rowid "
    "WHERE words MATCH ? {} ORDER BY score, items.id LIMIT ?"
)


class FullText:
    """Texts under ids, found by their words. A new one is empty and in memory; `open` reads a saved one.

    Threads may share one: what they ask goes one after the other.

    Args:
        stem: English words count without their endings (Porter): `valves` finds `valve`.

    Raises:
        DataError: SQLite of this Python has no FTS5.
    """

    def __init__(self, *, stem: bool = False) -> None:
        self.stem = stem
        self._lock = threading.Lock()
        self._base = _connect(":memory:")
        _create(self._base, stem)

    def __len__(self) -> int:
        with self._lock:
            return int(self._base.execute("SELECT count(*) FROM items").fetchone()[0])

    @property
    def ids(self) -> np.ndarray:
        """[n] object array of the ids that can be found, in the order in which they came."""
        with self._lock:
            return np.asarray([i for (i,) in self._base.execute("SELECT id FROM items ORDER BY row")], object)

    def add(self, ids: Sequence[str] | np.ndarray, texts: Sequence[str | None]) -> None:
        """Take in texts; one whose id is there already replaces it. An item without a text is found by no word.

        Raises:
            DataError: unlike numbers of both, an id that is empty or given twice, or a file that was opened.
        """
        names = [str(i) for i in ids]
        if len(names) != len(texts) or len(set(names)) != len(names) or not all(names):
            raise DataError(f"{len(texts)} texts need as many different ids that are not empty, not {len(names)}")
        with self._writing() as base:
            _remove(base, names)
            _insert(base, zip(names, texts, strict=True))

    def delete(self, ids: Iterable[str]) -> None:
        """Take items out.

        Raises:
            DataError: an id that is not there; then nothing is deleted.
        """
        names = list(dict.fromkeys(ids))
        with self._writing() as base:
            if _remove(base, names) != len(names):
                raise DataError("cannot delete: one of the ids is not in the full-text index")

    def search(self, words: str, k: int, *, filter: Filter | None = None, without: Iterable[str] | None = None) -> Hits:
        """The k best items that hold at least one of the words, best first, ties by id: [1, at most k].

        Words are looked for as words, whatever they look like: there is no query language.

        Args:
            filter: the ids that count, or a function of the [n] ids that gives [n] bool.
            without: ids that do not count, where naming the others would be long.

        Raises:
            DataError: k below 1.
        """
        if k < 1:
            raise DataError(f"k is {k}: ask for at least 1 item")
        asked = words_of(words)
        found: list[tuple[str, float]] = []
        if asked:
            where, values = "", []
            for name, ids in (("IN", self._allowed(filter)), ("NOT IN", without)):
                if ids is not None:
                    where += f" AND items.id {name} (SELECT value FROM json_each(?))"
                    values.append(json.dumps([str(i) for i in ids]))
            match = " OR ".join(f'"{word}"' for word in asked)
            with self._lock:
                found = self._base.execute(FIND.format(where), (match, *values, min(k, 2**31))).fetchall()
        names, scores = np.asarray([i for i, _ in found], str), np.asarray([-s for _, s in found], np.float32)
        return Hits.sorted(names[None], scores[None])

    def rarity(self, word: str) -> float:
        """log((n - holding + 0.5) / (holding + 0.5)) where that is above 0, else 1e-6: what a word weighs in BM25."""
        count = len(self)
        with self._lock:
            rows = self._base.execute("SELECT count(*) FROM words WHERE words MATCH ?", (f'"{word}"',))
            holding = int(rows.fetchone()[0])
        weight = math.log((count - holding + 0.5) / (holding + 0.5))
        return weight if weight > 0 else 1e-6

    def search_as(self, words: str, k: int, rarity: Callable[[str], float], *, filter: Filter | None = None) -> Hits:
        """As `search`, but each word weighs as much as is given here, whatever its rarity among these texts.

        So hits of a few texts can stand beside those of many, weighed by the `rarity` of the many. One query a word.
        """
        allowed, found = self._allowed(filter), dict[str, float]()
        within = set(allowed) if allowed is not None else None
        for word in words_of(words):
            with self._lock:
                rows = self._base.execute(FIND.format(""), (f'"{word}"', 2**31)).fetchall()
            change = rarity(word) / self.rarity(word) if rows else 0.0
            for name, score in rows:
                if within is None or name in within:
                    found[name] = found.get(name, 0.0) - score * change
        names, scores = np.asarray(list(found), str), np.asarray(list(found.values()), np.float32)
        return Hits.sorted(names[None], scores[None], k)

    def _allowed(self, filter: Filter | None) -> Iterable[str] | None:
        if filter is None or not callable(filter):
            return filter
        ids = self.ids
        passing: list[str] = ids[np.asarray(filter(ids), bool)].tolist()
        return passing

    def save(self, folder: str | Path) -> Path:
        """Write the next version into a folder; killed at any point, the one before stands."""

        def write(into: Path) -> None:
            with self._lock:
                self._base.execute("VACUUM INTO ?", (str(into / FILE),))

        return write_version(folder, write, {"part": "FullText", "stem": self.stem})

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    @staticmethod
    def open(folder: str | Path) -> FullText:
        """What was saved, to be searched; it is read from the file as far as a search needs it.

        Raises:
            DataError: nothing there, or a damaged file.
        """
        return read_version(folder, _opened)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._base:
                    yield self._base
            except sqlite3.OperationalError as error:
                raise DataError(f"this full-text index cannot be changed ({error}): put changes into another") from None


def words_of(text: str) -> list[str]:
    """The different words of a query, at most `MOST_WORDS`: runs of letters, digits and their marks."""
    signs = unicodedata.normalize("NFC", text)
    spaced = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in signs)
    return list({word.lower(): word for word in spaced.split()}.values())[:MOST_WORDS]


def text_column(sides: Sides) -> str | None:
    """The column whose words are searched: what is found where that is text, else what it is searched with (captions);
    None where neither is text."""
    return next((side.column for side in (sides.document, sides.query) if side.modality == "text"), None)


def build(
    collection: Collection, folder: str | Path, *, stem: bool = False, progress: Progress | None = None
) -> FullText | None:
    """The full-text index of a collection's texts, in a folder; the same call again opens what is there.

    Returns:
        None where the collection has no text; what lay in the folder is then removed.

    Raises:
        DataError: a folder that cannot be written, or SQLite without FTS5.
    """
    folder, column = Path(folder), text_column(collection.sides())
    if column is None:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    digest = hashlib.blake2b(f"{TOKENIZER} {stem}".encode(), digest_size=12)
    for pairs in _blocks(collection, column):
        digest.update(json.dumps(pairs).encode())
    facts = {"part": "FullText", "stem": stem, "content": digest.hexdigest()}
    if (folder / CURRENT).is_file():
        held = saved_facts(folder)
        if {name: held.get(name) for name in facts} == facts:
            return FullText.open(folder)

    def write(into: Path) -> None:
        base, done = _connect(str(into / FILE)), 0
        try:
            # The folder takes its place when all is on the disk: until then nothing has to survive anything.
            base.execute("PRAGMA journal_mode = OFF")
            base.execute("PRAGMA synchronous = OFF")
            _create(base, stem)
            for pairs in _blocks(collection, column):
                with base:
                    _insert(base, pairs)
                done += len(pairs)
                if progress is not None:
                    progress(done, len(collection))
            with base:
                base.execute("INSERT INTO words(words) VALUES ('optimize')")
        except sqlite3.OperationalError as error:
            raise OSError(None, str(error)) from None
        finally:
            base.close()

    write_version(folder, write, facts)
    return FullText.open(folder)


def keep_fulltext(collection: Collection, folder: Path, *, progress: Progress | None = None) -> list[Figure]:
    """Build the index of a run and tell its size."""
    text = build(collection, folder, progress=progress)
    if text is None:
        return []
    text.close()
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return [Figure("size of the full-text index", size / 2**20, unit="MiB")]


def _blocks(collection: Collection, column: str) -> Iterator[list[tuple[str, str]]]:
    """(id, text) of all items, so many at a time, long texts cut."""
    ids = collection.ids
    for start in range(0, len(collection), ROWS_A_BLOCK):
        rows = np.arange(start, min(start + ROWS_A_BLOCK, len(collection)))
        texts = collection.take(rows).values(column)
        yield [(str(i), (text or "")[:MOST_CHARACTERS]) for i, text in zip(ids[rows], texts, strict=True)]


def _connect(name: str, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(name, check_same_thread=False, **options)


def _create(base: sqlite3.Connection, stem: bool) -> None:
    try:
        for line in TABLES:
            base.execute(line.format(f"porter {TOKENIZER}" if stem else TOKENIZER))
    except sqlite3.OperationalError as error:
        raise DataError(f"SQLite {sqlite3.sqlite_version} of this Python has no full-text search ({error})") from None


def _insert(base: sqlite3.Connection, pairs: Iterable[tuple[str, str | None]]) -> None:
    for name, text in pairs:
        row = base.execute("INSERT INTO items(id) VALUES (?)", (name,)).lastrowid
        # A zero byte would end the text for SQLite.
        base.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (row, _plain(text or "")[:MOST_CHARACTERS]))


def _plain(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def _remove(base: sqlite3.Connection, names: Sequence[str]) -> int:
    """Delete those of the ids that are there; how many these were."""
    asked = (json.dumps(list(names)),)
    rows = base.execute("SELECT row FROM items WHERE id IN (SELECT value FROM json_each(?))", asked).fetchall()
    base.executemany("DELETE FROM words WHERE rowid = ?", rows)
    base.executemany("DELETE FROM items WHERE row = ?", rows)
    return len(rows)


def _opened(version: Path, facts: dict[str, Any]) -> FullText:
    if facts["part"] != "FullText":
        raise DataError(f"{version.parent} holds an index of {facts['part']}, not of full text")
    text = object.__new__(FullText)
    text.stem, text._lock = bool(facts["stem"]), threading.Lock()
    text._base = _connect(f"{(version / FILE).resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        text._base.execute("SELECT count(*) FROM items, words LIMIT 0").fetchall()
        text._base.execute("SELECT id FROM items LIMIT 1").fetchall()
    except sqlite3.DatabaseError as error:
        raise ValueError(str(error)) from None
    return text
