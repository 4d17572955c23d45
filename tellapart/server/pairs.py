"""Pairs of items: those that a model confuses, those that the miner was unsure of, and what was said of them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.data.marks import FILE as MARKS
from tellapart.data.marks import Mark, Said, add_mark, read_marks
from tellapart.engine.borderline import FILE as BORDERLINE
from tellapart.server import confusions
from tellapart.server.answers import Confused, Progress
from tellapart.server.limits import CONFUSION_QUERIES, CONFUSIONS, NoSuchItemError
from tellapart.server.pictures import Pictures
from tellapart.server.snapshot import Base

if TYPE_CHECKING:
    from tellapart.server.service import Service

FILE = "confusions.json"
ENCODED_AT_ONCE = 256


class Pairs:
    """What is known of pairs of the items that a service searches."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.progress = Progress()
        self._computing, self._marking = threading.Lock(), threading.Lock()
        self._confused: tuple[str, Confused] | None = None

    def confusions(self, k: int = 50) -> Confused:
        """The pairs the model cannot tell apart, the widest gap first.

        Of a collection of more than 20,000 items that many are asked, those held out for testing first. The outcome
        is kept in the run folder and computed anew when collection, model or index change. Items that are changed
        while the run is served count when the changes have been folded; those that were deleted are left out.
        """
        if not 1 <= k <= CONFUSIONS:
            raise DataError(f"k={k}: between 1 and {CONFUSIONS} pairs can be asked for")
        with self._computing:
            found = self._kept_confusions()
            if found is None:
                version = self.service.version
                found = self._find_confusions(self.service.live.base)
                self._keep_confusions(found, version)
                self._confused = (version, found)
        return replace(found, pairs=self._there(found.pairs)[:k])

    def borderline(self) -> list[confusions.Confusion]:
        """The pairs that the miner was least sure of, if `tellapart mine --explain` wrote some of this collection."""
        try:
            kept = json.loads((self.service.folder / BORDERLINE).read_text(encoding="utf-8"))
            found = [confusions.Confusion(**pair) for pair in kept["pairs"][:CONFUSIONS]]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return self._there(found)

    def _there(self, pairs: Sequence[confusions.Confusion]) -> list[confusions.Confusion]:
        at = self.service.live.now()
        return [pair for pair in pairs if all(i in at for i in (pair.query, pair.right, pair.wrong))]

    @cached_property
    def marks(self) -> dict[frozenset[str], Said]:
        """What was said of pairs of items, by their ids."""
        return {frozenset((m.a, m.b)): m.said for m in read_marks(self.service.folder / MARKS, missing_ok=True)}

    def mark(self, a: str, b: str, said: Said) -> int:
        """Keep in the run folder that two items are the same or different, for the next run; how many pairs are marked.

        Raises:
            NoSuchItemError: the collection does not hold one of them.
            DataError: they are one item, or the folder cannot be written.
        """
        at = self.service.live.now()
        for id_ in (a, b):
            if id_ not in at:
                raise NoSuchItemError(f"there is no item {id_!r}")
        with self._marking:
            kept = add_mark(self.service.folder / MARKS, Mark(a, b, said))
            self.marks = {frozenset((m.a, m.b)): m.said for m in kept}
        return len(kept)

    @property
    def ready(self) -> bool:
        """Whether `confusions` answers at once."""
        return self._kept_confusions() is not None

    def _kept_confusions(self) -> Confused | None:
        version = self.service.version
        if self._confused is None or self._confused[0] != version:
            try:
                kept = json.loads((self.service.folder / FILE).read_text(encoding="utf-8"))
                if kept["version"] != version:
                    return None
                pairs = [confusions.Confusion(**p) for p in kept["pairs"]]
                counts = {name: int(kept[name]) for name in ("total", "confused", "asked", "of")}
                self._confused = (version, Confused(pairs, **counts))
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return self._confused[1]

    def _keep_confusions(self, found: Confused, version: str) -> None:
        kept = {"version": version, **asdict(found)}
        # a folder that cannot be written only means that it is computed again next time
        with contextlib.suppress(OSError):
            write_atomically(self.service.folder / FILE, json.dumps(kept).encode())

    def _find_confusions(self, base: Base) -> Confused:
        collection = base.collection
        ids, rows, indexed = collection.ids, self._asked(base), np.flatnonzero(base.indexed)
        self.progress = Progress(0.0, running=True)
        try:
            pairs, confused = confusions.find(
                ids, rows, confusions.Belonging.of(collection, self.service.sides), partial(self._query_vectors, base),
                lambda r: np.asarray(base.index.vectors(ids[r].tolist()), np.float32), indexed, progress=self._at,
            )  # fmt: skip
        finally:
            self.progress = Progress()
        return Confused(pairs[:CONFUSIONS], len(pairs), confused, len(rows), len(ids))

    def _at(self, share: float) -> None:
        self.progress.share = share

    def _asked(self, base: Base) -> np.ndarray:
        collection = base.collection
        asked = collection[self.service.sides.query.column].is_valid().to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(base.indexed & asked)
        if len(rows) <= CONFUSION_QUERIES:
            return rows
        order = np.random.default_rng(0).permutation(len(rows))
        if "split" in collection.columns:
            held_out = np.asarray([v == "test" for v in collection.values("split")])[rows]
            order = order[np.argsort(~held_out[order], kind="stable")]
        return np.sort(rows[order[:CONFUSION_QUERIES]])

    def _query_vectors(self, base: Base, rows: np.ndarray) -> np.ndarray:
        if self.service.sides.same_space:
            return np.asarray(base.index.vectors(base.collection.ids[rows].tolist()), np.float32)
        pieces = [rows[i : i + ENCODED_AT_ONCE] for i in range(0, len(rows), ENCODED_AT_ONCE)]
        return np.concatenate([self._asked_vectors(base.collection, piece) for piece in pieces])

    def _asked_vectors(self, collection: Collection, rows: np.ndarray) -> np.ndarray:
        query = self.service.sides.query
        if query.modality == "text":
            items: list[Any] = collection.take(rows).values(query.column)
        else:
            pictures, file = Pictures(collection, query.column), self.service.live.file
            items = [
                self.service.asking.opened(file(id_) or pictures.source(id_), query.modality)
                for id_ in collection.ids[rows]
            ]
        return np.asarray(self.service.model.encode_query(items), np.float32)
