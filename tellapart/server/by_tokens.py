"""Searching by words where a run holds a vector for each word piece (`tellapart run TEXTS --set index=muvera`)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from tellapart.core.hits import Hits
from tellapart.server.snapshot import Passing, Snapshot

TOLD = "This order compares word pieces, each of the query with its best in an item, so scores have no probability."
LATER = "Items added or changed since the word pieces were indexed ({}) are not among these: run tellapart index again."


class ByTokens:
    """The word pieces of a run folder, opened when they are first asked for."""

    def __init__(self, folder: Path, model: Any) -> None:
        self.folder, self.model = folder, model

    @cached_property
    def index(self) -> Any:
        """The index of several vectors an item; None where the run has none."""
        from tellapart.engine.tokens import open_tokens

        return open_tokens(self.folder)

    def search(
        self, words: str, k: int, at: Snapshot, passing: Passing | None
    ) -> tuple[list[tuple[str, float]], tuple[str, ...]]:
        """(id, MaxSim) of the k best of what passes, and what is to be known of them.

        Items that were added or changed since the word pieces were indexed are left out, and that is said.
        """
        from tellapart.engine.tokens import encode_tokens

        allowed = at.base.collection.ids[~at.gone if passing is None else passing.base]
        held = self._ids
        within = [i for i in allowed.tolist() if i in held]
        hits: Hits = self.index.search(encode_tokens(self.model, "query", [words]), k, filter=within)
        later = len(allowed) - len(within) + len(at.overlay)
        return hits[0], (TOLD, *([LATER.format(later)] if later else []))

    @cached_property
    def _ids(self) -> set[str]:
        return set(self.index.ids.tolist())
