"""Records of one thing as one row: where their cells differ, a rule says which value stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

Resolve = Callable[[str, list[Any]], Any]
LEFT_OUT = ("id", "image", "hash", "group", "near")


def majority(column: str, values: list[Any]) -> Any:
    """The commonest of the values; of equals the longest as text, and of these the first."""
    counts = Counter(map(repr, values))
    return max(values, key=lambda value: (counts[repr(value)], len(str(value))))


def merged(records: Collection, clusters: np.ndarray, resolve: Resolve = majority) -> tuple[Collection, int]:
    """One row a cluster, and how many cells held different values.

    `id` is that of the first record, `members` all of theirs, one after the other with `;` between; every other column
    of words or numbers has the value that `resolve(column, values)` gives for its values in the order of the records,
    where they differ; cells that are empty do not count. A rule is code of one's own (a language model that is asked,
    say) and never comes from the data.

    Raises:
        DataError: a rule that gives a value that the column cannot hold.
    """
    import pyarrow as pa

    members: dict[int, list[int]] = {}
    for row, cluster in enumerate(clusters.tolist()):
        members.setdefault(cluster, []).append(row)
    columns: dict[str, Any] = {
        "id": [str(records.ids[rows[0]]) for rows in members.values()],
        "members": [";".join(str(records.ids[row]) for row in rows) for rows in members.values()],
    }
    conflicts = 0
    for name in records.columns:
        kind = records.table.schema.field(name).type
        if name in LEFT_OUT or name == "members" or not (pa.types.is_primitive(kind) or pa.types.is_string(kind)):
            continue
        values, cells = records.values(name), []
        for rows in members.values():
            held = [values[row] for row in rows if values[row] is not None and values[row] != ""]
            differ = len(set(map(repr, held))) > 1
            conflicts += differ
            cells.append(resolve(name, held) if differ else (held[0] if held else None))
        try:
            columns[name] = pa.array(cells, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            raise DataError(f"the rule gives values for {name!r} that it cannot hold: {error}") from None
    return Collection.of(columns), conflicts
