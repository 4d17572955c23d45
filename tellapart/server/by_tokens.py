"""Searching by words where a run holds a vector for each word piece (`tellapart run TEXTS --set index=muvera`)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from tellapart.core.hits import Hits
from tellapart.core.parts import make
from tellapart.server.later import LEFT_OUT, MOST_ENCODED, Later, joined
from tellapart.server.live import Live
from tellapart.server.snapshot import Passing, Snapshot

TOLD = "This order compares word pieces, each of the query with its best in an item, so scores have no probability."


class ByTokens:
    """The word pieces of a run folder, opened when they are first asked for, and those of items that came later."""

    def __init__(self, folder: Path, model: Any, live: Live) -> None:
        self.folder, self.model = folder, model
        self._later = Later(live.journal, model.sides.document.column, self._empty, self._put, MOST_ENCODED)

    @cached_property
    def index(self) -> Any:
        """The index of several vectors an item; None where the run has none."""
        from tellapart.engine.tokens import open_tokens

        return open_tokens(self.folder)

    def search(
        self, words: str, k: int, at: Snapshot, passing: Passing | None
    ) -> tuple[list[tuple[str, float]], tuple[str, ...]]:
        """(id, MaxSim) of the k best of what passes, and what is to be known of them."""
        from tellapart.engine.tokens import encode_tokens

        query = encode_tokens(self.model, "query", [words])
        allowed = None if passing is None else set(at.ids_of(passing))

        def ask(index: Any) -> Hits:
            found: Hits = index.search(query, k, filter=_within(index, allowed))
            return found

        more, changed, left = self._later.search(at, ask)
        within = _within(self.index, allowed)
        hits = joined(lambda wanted: self.index.search(query, wanted, filter=within), more, changed, at, k)
        return hits[0], (TOLD, *([LEFT_OUT.format(left)] if left else []))

    def _empty(self) -> Any:
        return make("index", "maxsim")

    def _put(self, index: Any, ids: list[str], texts: list[str]) -> None:
        from tellapart.engine.tokens import encode_tokens

        index.add(ids, encode_tokens(self.model, "document", texts))


def _within(index: Any, allowed: set[str] | None) -> list[str] | None:
    """Of the ids that may be found, those that an index holds."""
    return None if allowed is None else [i for i in index.ids.tolist() if i in allowed]
