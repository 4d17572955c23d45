"""What rank parts of trait `scorer` read while a run is searched: the query as given, and items as they are now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.engine.embed import items_of
from tellapart.engine.scorers import Reading
from tellapart.server.asking import Asking, kind_of
from tellapart.server.snapshot import Passing, Snapshot


def opener(asking: Asking, at: Snapshot, file: Callable[[str], bytes | Path]) -> Callable[[str], Any]:
    """From the id of an item of a snapshot to its text, picture or window, as an encoder takes it.

    Args:
        file: as in `reading`.
    """
    side, base = asking.model.sides.document, at.base.collection
    held = items_of(base, side.column, side.modality)

    def document(id_: str) -> Any:
        if side.modality == "text":
            return at.value(id_, side.column) or ""
        return asking.opened(file(id_), side.modality) if id_ in at.filed else held.at(base.row_of[id_])

    return document


def reading(
    asking: Asking,
    at: Snapshot,
    words: str,
    image: bytes | None,
    passing: Passing | None,
    file: Callable[[str], bytes | Path],
) -> Reading:
    """Where a chain finds the one query, the items of a snapshot, and which of them pass.

    Args:
        file: from the id of an item whose picture or window lies in the journal to that.
    """
    item: Any = words if words else asking.opened(image or b"", kind_of("", image))
    document = opener(asking, at, file)
    allowed = None if passing is None else set(at.ids_of(passing))

    def there(row: int, ids: np.ndarray) -> np.ndarray:
        if allowed is not None:
            return np.array([id_ in allowed for id_ in ids.tolist()], bool)
        if at.changed:
            return np.array([id_ in at for id_ in ids.tolist()], bool)
        return np.ones(len(ids), bool)

    return Reading(lambda row: item, document, there)
