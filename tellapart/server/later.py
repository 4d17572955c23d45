"""What searches by words hold of items that were put in, changed or deleted since a run was made: in memory.

The indexes of words beside a run (full text, learned weights, word pieces) are as `tellapart run` left them. What the
journal changed since is left out of them and indexed here, so that a search of both sees every item as it is now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.hits import Hits
from tellapart.server.journal import Journal
from tellapart.server.snapshot import Snapshot

SPARE = 64
MOST_ENCODED = 1_000
LEFT_OUT = "{} items that came or changed since the run was made are looked for by similarity alone: make it again."


class Later:
    """The changed items of a run in an index of their own, brought up to date when it is asked for.

    Args:
        journal: of the run.
        column: of the texts that are indexed.
        empty: a new index; it has `add(ids, ...)`, `delete(ids)` and `ids`.
        put: (index, ids, texts) -> None, which takes them in.
        most: so many items, the latest; `left_out` counts the others.
    """

    def __init__(
        self,
        journal: Journal,
        column: str,
        empty: Callable[[], Any],
        put: Callable[[Any, list[str], list[str]], None],
        most: int,
    ) -> None:
        self.journal, self.column, self.empty, self.put, self.most = journal, column, empty, put, most
        self._lock = threading.Lock()
        self._seq = 0
        self._index: Any = None
        self._changed: frozenset[str] = frozenset()
        self._held: dict[str, None] = {}

    def search(self, at: Snapshot, ask: Callable[[Any], Hits]) -> tuple[Hits | None, frozenset[str], int]:
        """What the changed items of a snapshot give, all items that changed, and how many of them are not indexed.

        Args:
            ask: from the index to hits of one query; called where it holds anything.
        """
        with self._lock:
            self._catch_up(at)
            found = ask(self._index) if self._held else None
            few = len(self._changed) <= self.most
            return found, self._changed, 0 if few else sum(i not in self._held and i in at for i in self._changed)

    def _catch_up(self, at: Snapshot) -> None:
        position, pruned = self.journal.position()
        if position < self._seq or pruned > self._seq:
            # another journal, or one without what was deleted meanwhile
            self._seq, self._index, self._changed, self._held = 0, None, frozenset(), {}
        if at.seq <= self._seq:
            return
        changes = [c for c in self.journal.since(self._seq)[1] if c.seq <= at.seq]
        self._seq = at.seq
        if not changes:
            return
        self._index = self.empty() if self._index is None else self._index
        self._changed |= {c.id for c in changes}
        if gone := [c.id for c in changes if c.id in self._held and c.id not in at]:
            self._index.delete(gone)
        there = [c.id for c in changes if c.id in at][-self.most :]
        for id_ in (*gone, *there):
            self._held.pop(id_, None)
        if there:
            self.put(self._index, there, [str(at.value(id_, self.column) or "") for id_ in there])
            self._held |= dict.fromkeys(there)
        if more := list(self._held)[: max(len(self._held) - self.most, 0)]:
            self._index.delete(more)
            for id_ in more:
                del self._held[id_]


def joined(base: Callable[[int], Hits], later: Hits | None, changed: frozenset[str], at: Snapshot, k: int) -> Hits:
    """The k best of one query: of what a run indexed, less what changed or is gone since, and of what came later.

    Args:
        base: the best so many of what the run indexed.
    """
    wanted = k + min(len(changed), SPARE)
    while True:
        found = base(wanted)
        kept = [(i, s) for i, s in found[0] if i not in changed and i in at]
        if len(kept) >= k or len(found[0]) < wanted:
            break
        wanted *= 4
    kept += [(i, s) for i, s in later[0] if i in at] if later is not None else []
    names, scores = np.asarray([i for i, _ in kept], str), np.asarray([s for _, s in kept], np.float32)
    return Hits.sorted(names[None], scores[None], k)
