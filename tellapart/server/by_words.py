"""Searching by the words themselves, beside or instead of vectors: full text, or learned weights of words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.engine.fulltext import FOLDER as FULLTEXT
from tellapart.engine.fulltext import MOST_WORDS, FullText, words_of
from tellapart.engine.sparse import FOLDER as SPARSE
from tellapart.engine.sparse import SparseSearch

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
    """The searches by words of a run folder; each is opened when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, Any] = {}
        self._opening = threading.Lock()

    @property
    def has_text(self) -> bool:
        """Whether there is a full-text index."""
        return (self.folder / FULLTEXT).is_dir()

    @property
    def has_weights(self) -> bool:
        """Whether there are learned weights of words."""
        return (self.folder / SPARSE).is_dir()

    def search(self, words: str, k: int, allowed: Collection[str] | None, *, sparse: bool = False) -> Hits:
        """The k best items by full text, or by learned weights of words.

        Raises:
            DataError: the run has none of the kind.
        """
        if sparse and not self.has_weights:
            raise DataError(
                f"{self.folder} holds no learned weights of words: search without sparse, or make a run of pairs of "
                "texts with tellapart run PATH --set strategy=idf-flops"
            )
        if sparse:
            weights = self._open(SPARSE, SparseSearch.open)
            return weights.search(words, k, filter=allowed)
        if not self.has_text:
            raise DataError(
                f"{self.folder} holds no full-text index, because its items have no texts or it was made before there "
                "were any: search without hybrid, or make the run again with tellapart run"
            )
        text = self._open(FULLTEXT, FullText.open)
        return text.search(words, k, filter=allowed)

    def notes(self, words: str, *, sparse: bool = False) -> tuple[str, ...]:
        """What is to be known of a search by both."""
        if sparse:
            return (TOLD.format("learned weights of words"),)
        cut = len(words_of(words)) >= MOST_WORDS
        return (TOLD.format("words"), *([f"Only the first {MOST_WORDS} words were looked for."] if cut else []))

    def _open(self, name: str, how: Callable[[Path], Any]) -> Any:
        with self._opening:
            if name not in self._opened:
                self._opened[name] = how(self.folder / name)
            return self._opened[name]
