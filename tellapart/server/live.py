"""Items added, changed and deleted while a run is served, by several threads and processes, none lost once taken.

A reader holds a `Snapshot`, which nothing changes. A write goes into the journal, is on the disk, and then makes a new
snapshot; other processes see the number of the latest change and catch up. A fold writes what is searched at a moment
into a new version of `served/` in the run folder, collection and index together, and whoever holds the old one goes on
with it until the new one is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import ID, Collection
from tellapart.core.errors import DataError
from tellapart.core.vectors import CURRENT, read_version, saved_facts, write_version
from tellapart.server.journal import Change, Journal, Writing
from tellapart.server.limits import BusyError, NoSuchItemError, TooLargeError
from tellapart.server.snapshot import Base, Snapshot, table_of
from tellapart.server.taking import Given, Taking, check_id

SERVED = "served"
INDEX = "index"
LOCK = "fold.lock"
BATCH_ITEMS = 1_000
OVERLAY_ITEMS = 200_000
FOLD_FROM = 2_000
FOLD_SHARE = 0.02
TRIES = 5

log = logging.getLogger("tellapart.server")


@dataclass(frozen=True)
class Taken:
    """What was written and is on the disk.

    Attributes:
        ids: of the items, in the order in which they were given.
        seq: the number of the latest change.
        notes: what one should know, in words.
    """

    ids: Sequence[str]
    seq: int
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Folded:
    """What a fold wrote.

    Attributes:
        items: how many items are in the new version.
        changes: how many items came from the journal, and how many of the old version are gone.
        version: its name below `served/`.
    """

    items: int
    changes: int
    version: str


class Live:
    """What a run folder serves, and how it is changed.

    Args:
        folder: the run folder.
        model: encodes documents; its `sides` say what an item needs.
        base: in place of the collection and index in the folder; it cannot be folded.
        folding: whether a fold begins by itself, beside, when the changes are more than a share of the items.

    Raises:
        DataError: the folder lacks a piece or holds a damaged one.
    """

    def __init__(self, folder: str | Path, model: Any, *, base: Base | None = None, folding: bool = False) -> None:
        self.folder, self.model, self.folding = Path(folder), model, folding
        self.journal = Journal(self.folder)
        self._given = base
        self._taking: tuple[Base, Taking] | None = None
        self._lock, self._threads = threading.RLock(), threading.Lock()
        self._reloading: threading.Thread | None = None
        self._folder: threading.Thread | None = None
        self._model = _model_of(self.folder)
        self._pointers = [str(self.folder / name / CURRENT) for name in (SERVED, INDEX)]
        self._marker = self._marks()
        self._at = self._loaded()

    def now(self) -> Snapshot:
        """What is searched now: every change that was taken before this call, by whichever process, is in it."""
        if self._given is None and self._marks() != self._marker:
            self._reload_beside()
        at = self._at
        if self.journal.position()[0] == at.seq:
            return at
        with self._lock:
            self._catch_up(self.journal.position, self.journal.since)
            return self._at

    @property
    def model_name(self) -> str:
        """What tells the model of the run from another one."""
        return self._model

    @property
    def base(self) -> Base:
        """What lies on the disk and is read at present."""
        return self._at.base

    def put(
        self,
        id_: str,
        columns: Mapping[str, Any] | None = None,
        *,
        file: bytes | None = None,
        vector: Sequence[float] | np.ndarray | None = None,
    ) -> Taken:
        """Add an item, or change one; see `put_all`."""
        return self.put_all([Given(id_, columns or {}, file, vector)])

    def put_all(self, items: Sequence[Given]) -> Taken:
        """Add items and change those that are there, all or none; when this returns they are on the disk.

        A new item needs what is searched: a text, a picture or a window. Of an item that is there, columns that are
        not given stay as they are.

        Raises:
            DataError: something that cannot be taken, or no room on the disk, in words.
        """
        if not items:
            raise DataError("no item is given")
        if len(items) > BATCH_ITEMS:
            raise TooLargeError(f"{len(items)} items at once; at most {BATCH_ITEMS} are taken, so send several batches")
        taking = self.taking
        checked = [taking.check(given) for given in items]
        ids = [given.id for given in checked]
        if len(set(ids)) != len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise DataError(f"the item {twice!r} is given twice in one batch; which one is meant?")
        vectors, notes = taking.encode(checked)

        def changes(at: Snapshot, journal: Writing) -> list[Change]:
            if at.overlay.count + len(ids) > OVERLAY_ITEMS:
                raise BusyError(
                    f"more than {OVERLAY_ITEMS:,} changes wait to be folded into the index; run `tellapart index "
                    f"--compact --run {self.folder}`"
                )
            before = journal.latest(ids)
            return [
                self._merged(at, given, z, before.get(given.id), journal)
                for given, z in zip(checked, vectors, strict=True)
            ]

        seq = self._write(changes)
        return Taken(ids, seq, (*notes, *self._unseen))

    def delete(self, ids: str | Sequence[str]) -> Taken:
        """Take items away, all or none; when this returns that is on the disk.

        Raises:
            NoSuchItemError: one of them is not there.
            DataError: no id, too many, or no room on the disk.
        """
        names = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        if not names:
            raise DataError("no id is given")
        if len(names) > BATCH_ITEMS:
            raise TooLargeError(f"{len(names)} ids at once; at most {BATCH_ITEMS} are taken, so send several batches")
        for id_ in names:
            check_id(id_)

        def changes(at: Snapshot, journal: Writing) -> list[Change]:
            unknown = [i for i in names if i not in at]
            if unknown:
                more = f" ({len(unknown)} of {len(names)} ids are unknown)" if len(names) > 1 else ""
                raise NoSuchItemError(f"there is no item {unknown[0][:80]!r}, so nothing was deleted{more}")
            return [Change(id_, gone=True) for id_ in names]

        return Taken(names, self._write(changes))

    def file(self, id_: str) -> bytes | None:
        """The bytes of the picture or window that an item was given here; None: it has that of the run."""
        return self.journal.file(id_) if id_ in self.now().filed else None

    @property
    def taking(self) -> Taking:
        """What an item must be like."""
        return self._taking_of(self._at.base)

    def fold(self) -> Folded | None:
        """Write what is searched now as a new version, collection and index together; None where nothing changed.

        Killed at any point, the old version or the new one is served, with all that was taken.

        Raises:
            BusyError: another process folds.
            DataError: the run was made anew meanwhile, or no room on the disk; the old version is then untouched.
        """
        if self._given is not None:
            raise DataError("what was given as objects has no files to fold into; open the run folder alone")
        with self._alone():
            if self._marks() != self._marker:
                self._reload()
            at = self.now()
            if not at.changed:
                return None
            if not len(at):
                raise DataError("every item was deleted, and an index of nothing cannot be written; add one first")
            facts = {"base": _base_of(self.folder), "journal": self.journal.name, "seq": at.seq, "items": len(at)}

            def write(folder: Path) -> None:
                try:
                    at.collection.save(folder)
                    _folded_index(at).save(folder / INDEX)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise

            write_version(self.folder / SERVED, write, facts)
            kept = collection_folder(self.folder)
            made = Collection.open(kept).row_of
            with self.journal.writing() as journal:
                journal.prune(at.seq, made.__contains__)
            self._reload()
            changes = at.overlay.alive.sum() + at.gone.sum()
            return Folded(len(at), int(changes), saved_facts(self.folder / SERVED)["version"])

    def behind(self) -> int:
        """How many changes are in the journal that nobody has asked this process about yet."""
        return max(0, self.journal.position()[0] - self._at.seq)

    def settle(self) -> None:
        """Wait for what goes on beside: a fold, the reading of a new version."""
        for thread in (self._folder, self._reloading):
            if thread is not None:
                thread.join()

    def close(self) -> None:
        """Let a fold end, and let go of the journal."""
        self.settle()
        self.journal.close()

    def _write(self, changes: Callable[[Snapshot, Writing], list[Change]]) -> int:
        with self._lock:
            with self.journal.writing() as journal:
                self._catch_up(journal.position, journal.since)
                at = self._at
                wanted = changes(at, journal)
                # what cannot be served must not be taken
                self._made(at.base, [c for c in wanted if not c.gone])
                written = journal.write(wanted)
            self._at = self._applied(at, written, written[-1].seq)
            self._fold_beside()
            return self._at.seq

    def _merged(
        self, at: Snapshot, given: Given, z: np.ndarray | None, before: Change | None, journal: Writing
    ) -> Change:
        columns = {k: v for k, v in given.columns.items() if k != ID}
        if given.id not in at:
            if z is None:
                raise self.taking.missing(given.id)
            return Change(given.id, columns=columns, vector=z, model=self._model, file=given.file)
        if before is None or before.gone:
            model = self._model if z is not None else ""
            return Change(given.id, patch=True, columns=columns, vector=z, model=model, file=given.file)
        file = given.file
        if file is None and before.filed:
            file = journal.file(given.id)
        vector, model = (before.vector, before.model) if z is None else (z, self._model)
        return replace(before, columns=before.columns | columns, vector=vector, model=model, file=file)

    def _catch_up(
        self, position: Callable[[], tuple[int, int]], since: Callable[[int], tuple[int, list[Change]]]
    ) -> None:
        if position()[1] > self._at.seq:
            # what was deleted meanwhile is no more in the journal, only in a version that was folded since
            self._at = self._loaded()
        seq, changes = since(self._at.seq)
        if seq != self._at.seq:
            self._at = self._applied(self._at, changes, seq)

    def _applied(self, at: Snapshot, changes: Sequence[Change], seq: int) -> Snapshot:
        filed = dict(at.filed)
        for change in changes:
            filed.pop(change.id, None)
            if change.filed and not change.gone:
                filed[change.id] = change.seq
        ids, rows, z = self._made(at.base, [c for c in changes if not c.gone])
        made = set(ids)
        return at.but([c.id for c in changes if c.id not in made], ids, rows, z, seq=seq, filed=filed)

    def _made(self, base: Base, changes: Sequence[Change]) -> tuple[list[str], list[dict[str, Any]], np.ndarray]:
        """Ids, rows and vectors of items as they are searched; those that a run made anew lacks are left out."""
        taking, row_of = self._taking_of(base), base.collection.row_of
        ids, rows, vectors = [], [], []
        for change in changes:
            vector = change.vector
            stands = change.patch and change.id in row_of
            if vector is not None and change.model != self._model:
                vector = self._encoded_anew(taking, change)
            if vector is None:
                if not stands:
                    continue
                vector = np.asarray(base.index.vectors([change.id]), np.float32)[0]
            row = base.collection.item(change.id) if stands else dict.fromkeys(base.collection.columns)
            if change.vector is not None:
                row |= dict.fromkeys(taking.derived)
            row |= {k: v for k, v in change.columns.items() if k in row} | {ID: change.id}
            if (change.filed or change.file is not None) and taking.file_column:
                row[taking.file_column] = taking.marker()
            ids.append(change.id)
            rows.append(row)
            vectors.append(vector)
        table_of(rows, base.collection.table.schema)
        return ids, rows, np.stack(vectors) if vectors else np.zeros((0, 1), np.float32)

    def _taking_of(self, base: Base) -> Taking:
        kept = self._taking
        if kept is None or kept[0] is not base:
            kept = self._taking = (base, Taking(base.collection, self.model.sides, self.model))
        return kept[1]

    def _encoded_anew(self, taking: Taking, change: Change) -> np.ndarray | None:
        """The vector that another model than the one at the time makes of an item; None where it cannot."""
        file = self.journal.file(change.id) if change.filed else change.file
        given = Given(change.id, {k: v for k, v in change.columns.items() if k in taking.schema.names}, file)
        try:
            return taking.encode([given])[0][0]
        except DataError:
            return None

    @property
    def _unseen(self) -> tuple[str, ...]:
        """What does not see an item that was put in."""
        grouped = "group" in self._at.base.collection.columns
        return ("New and changed items are in no duplicate group before the next `tellapart run`.",) if grouped else ()

    def _marks(self) -> tuple[Any, ...]:
        """Changes whenever a version of the served folder or of the index of the run is put in place."""
        if self._given is not None:
            return ()
        return tuple(map(_stamp, self._pointers))

    def _loaded(self) -> Snapshot:
        """What lies on the disk, with the changes since."""
        for _ in range(TRIES):
            base = self._given or _open_base(self.folder, self.journal)
            at = Snapshot.of(base, filed=self.journal.files())
            seq, changes = self.journal.since(base.seq)
            # a fold that ended meanwhile may have taken from the journal what this version does not know yet
            if not base.seq or self.journal.position()[1] <= base.seq:
                return self._applied(at, changes, seq) if changes or seq != at.seq else at
        raise DataError(f"{self.folder} is folded again and again while it is read; try again in a moment")

    def _reload(self) -> None:
        marker = self._marks()
        if _model_of(self.folder) != self._model:
            self._marker = marker
            log.warning("%s was made anew with another model; start the server again to serve it", self.folder)
            return
        fresh = self._loaded()
        if len(fresh.base.index.ids):
            # what an index makes when it is first searched is made here, and not while somebody waits
            some = np.asarray(fresh.base.index.vectors(list(fresh.base.index.ids[:1])), np.float32)
            fresh.nearest(some, 1)
        with self._lock:
            self._marker, self._at = marker, fresh
            self._catch_up(self.journal.position, self.journal.since)

    def _reload_beside(self) -> None:
        def reload() -> None:
            try:
                self._reload()
            except DataError as error:
                self._marker = marker
                log.warning("a new version in %s cannot be read, so the one before is served: %s", self.folder, error)

        marker = self._marks()
        with self._threads:
            if self._reloading is None or not self._reloading.is_alive():
                self._reloading = threading.Thread(target=reload, name="tellapart-reload", daemon=True)
                self._reloading.start()

    def _fold_beside(self) -> None:
        def fold() -> None:
            try:
                self.fold()
            except DataError as error:
                log.warning("%s was not folded: %s", self.folder, error)

        at = self._at
        many = at.overlay.count + int(at.gone.sum())
        if not self.folding or self._given is not None or many <= max(FOLD_FROM, FOLD_SHARE * len(at)):
            return
        with self._threads:
            if self._folder is None or not self._folder.is_alive():
                self._folder = threading.Thread(target=fold, name="tellapart-fold", daemon=True)
                self._folder.start()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process folds meanwhile; a process that is killed lets go."""
        (self.folder / SERVED).mkdir(exist_ok=True)
        lock = sqlite3.connect(self.folder / SERVED / LOCK, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise BusyError("another process is folding the changes of this run; let it end") from None
                raise DataError(f"{self.folder / SERVED} cannot be written: {error}") from None
            yield
        finally:
            lock.close()


def _open_base(folder: Path, journal: Journal) -> Base:
    from tellapart.engine.indexing import open_index

    served = folder / SERVED
    if (served / CURRENT).is_file():
        facts = saved_facts(served)
        if facts.get("base") == _base_of(folder):
            if facts.get("journal") != journal.name:
                raise DataError(
                    f"{served} was folded from another journal than {journal.path}: put that back, or delete {served} "
                    "to serve what the run made"
                )
            return read_version(served, _read_served)
    return Base(Collection.open(collection_folder(folder)), open_index(folder / INDEX), folder=folder / INDEX)


def _read_served(version: Path, facts: dict[str, Any]) -> Base:
    from tellapart.engine.indexing import open_index

    try:
        collection, index = Collection.open(version), open_index(version / INDEX)
    except DataError:
        if saved_facts(version.parent)["version"] != version.name:
            # replaced while it was read: `read_version` reads the new one
            raise FileNotFoundError(version) from None
        raise
    if len(collection) != facts["items"]:
        raise ValueError("the collection has another number of items")
    return Base(collection, index, seq=int(facts["seq"]), version=version.name, folder=version / INDEX)


def _folded_index(at: Snapshot) -> Any:
    from tellapart.engine.indexing import open_index

    assert at.base.folder is not None
    index = open_index(at.base.folder)
    away = [i for i in index.ids.tolist() if i not in at or i in at.overlay.place]
    if away:
        index.delete(away)
    if len(at.overlay):
        ids = list(at.overlay.place)
        index.add(ids, at.overlay.vectors(ids))
    return index


def collection_folder(folder: Path) -> Path:
    """Where `tellapart run` put what is searched."""
    whole = folder / "corpus"
    return whole if whole.is_dir() else folder / "collection"


def _base_of(folder: Path) -> str:
    """Names what `tellapart run` and `tellapart index` made here; anything made anew has another name."""
    digest = hashlib.sha256(repr(_stamp(collection_folder(folder) / "collection.arrow")).encode())
    for file in (folder / INDEX / CURRENT, folder / "model" / "model.json"):
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()[:24]


def _model_of(folder: Path) -> str:
    file = folder / "model" / "model.json"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:24] if file.is_file() else ""


def _stamp(file: str | Path) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
