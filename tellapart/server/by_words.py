"""Searching by the words themselves, beside or instead of vectors: full text, or learned weights of words."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.vectors import CURRENT
from tellapart.engine.fulltext import FOLDER as FULLTEXT
from tellapart.engine.fulltext import MOST_WORDS, FullText, text_column, words_of
from tellapart.engine.sparse import FOLDER as SPARSE
from tellapart.engine.sparse import SparseSearch
from tellapart.server.later import LEFT_OUT, MOST_ENCODED, Later, joined
from tellapart.server.live import Live
from tellapart.server.snapshot import Snapshot

MOST_TEXTS, WEIGHTS_KEPT = 100_000, 65_536
FUSED, WEIGHED = "reciprocal rank fusion", "learned weights of words"
TOLD = (
    "This order is of two searches together, by similarity and by {}: a score says where an item stands in both lists, "
    "not how well it fits, so there is no probability."
)
NO_MODEL = (
    "Found by learned weights of words, and no model read the query: a score is their sum, without a probability."
)
NO_WORDS = "No words were given, so this order is by similarity alone."


class ByWords:
    """The searches by words of a run folder; each is opened when it is first asked for.

    Items that were put in, changed or deleted since the run was made are found as they are now (`later`).
    """

    def __init__(self, folder: Path, live: Live) -> None:
        self.folder, self.live = folder, live
        self._opened: dict[str, tuple[int, Any, Any, Later]] = {}
        self._opening = threading.Lock()

    @property
    def has_text(self) -> bool:
        """Whether there is a full-text index."""
        return (self.folder / FULLTEXT).is_dir()

    @property
    def has_weights(self) -> bool:
        """Whether there are learned weights of words."""
        return (self.folder / SPARSE).is_dir()

    def search(
        self, words: str, k: int, at: Snapshot, allowed: Collection[str] | None = None, *, sparse: bool = False
    ) -> tuple[Hits, tuple[str, ...]]:
        """The k best items of a snapshot by full text, or by learned weights of words, and what is to be known of it.

        Raises:
            DataError: the run has none of the kind.
        """
        if sparse and not self.has_weights:
            raise DataError(
                f"{self.folder} holds no learned weights of words: search without sparse, or make a run of pairs of "
                "texts with tellapart run PATH --set strategy=idf-flops"
            )
        if not sparse and not self.has_text:
            raise DataError(
                f"{self.folder} holds no full-text index, because its items have no texts or it was made before there "
                "were any: search without hybrid, or make the run again with tellapart run"
            )
        held, rarity, later = self._open(SPARSE if sparse else FULLTEXT)

        def of_later(index: Any) -> Hits:
            found: Hits = (
                index.search(words, k, filter=allowed) if sparse else index.search_as(words, k, rarity, filter=allowed)
            )
            return found

        more, changed, left = later.search(at, of_later)
        found = joined(lambda wanted: held.search(words, wanted, filter=allowed), more, changed, at, k)
        return found, ((LEFT_OUT.format(left),) if left else ())

    def notes(self, words: str, *, sparse: bool = False) -> tuple[str, ...]:
        """What is to be known of a search by both."""
        if sparse:
            return (TOLD.format("learned weights of words"),)
        cut = len(words_of(words)) >= MOST_WORDS
        return (TOLD.format("words"), *([f"Only the first {MOST_WORDS} words were looked for."] if cut else []))

    def _open(self, name: str) -> tuple[Any, Any, Later]:
        """The index as the run made it, how it weighs a word, and what came later; anew where the run was made anew."""
        marker = (self.folder / name / CURRENT).stat().st_mtime_ns
        with self._opening:
            if name not in self._opened or self._opened[name][0] != marker:
                self._opened[name] = (marker, *self._made(name))
            return self._opened[name][1:]

    def _made(self, name: str) -> tuple[Any, Any, Later]:
        journal, sides = self.live.journal, self.live.model.sides
        if name == FULLTEXT:
            text = FullText.open(self.folder / name)
            column = text_column(sides) or sides.document.column
            later = Later(journal, column, lambda: FullText(stem=text.stem), FullText.add, MOST_TEXTS)
            return text, functools.lru_cache(maxsize=WEIGHTS_KEPT)(text.rarity), later
        words = SparseSearch.open(self.folder / name)
        return words, None, Later(journal, sides.document.column, words.emptied, SparseSearch.add, MOST_ENCODED)
