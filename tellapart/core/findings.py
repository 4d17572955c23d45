"""What may be wrong with items of a collection: a row for each suspicion, with its reason and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tellapart.core.errors import DataError
from tellapart.core.files import placed

ACTIONS = ("drop", "relabel", "same-as", "look")
NAMING = ("relabel", "same-as")
FILE = "findings.arrow"
SCHEMA = pa.schema([
    ("item", pa.string()), ("kind", pa.string()), ("score", pa.float32()),
    ("reason", pa.string()), ("action", pa.string()), ("to", pa.string()),
])  # fmt: skip
_SHOWN = b"tellapart.shown"


class Findings:
    """An immutable table of suspicions: item, kind, score, reason, action, to.

    `kind` is the name of the part that found it. A higher `score` is surer, and only scores of one kind compare.
    `action` is what the part proposes: `drop` the item, `relabel` it as `to`, take it for the `same-as` the item `to`,
    or `look` at it; `to` is empty otherwise. A part scores every item that it looked at, and proposes those whose score
    reaches the threshold that it chose.

    Attributes:
        table: rows of `SCHEMA`.
        shown: the threshold of each kind; infinity proposes nothing.

    Raises:
        DataError: other columns, an item twice in a kind, a kind without a threshold, scores that are not finite, an
            action that is none, one that lacks its `to`, or a proposal without a reason.
    """

    def __init__(self, table: pa.Table, shown: Mapping[str, float]) -> None:
        try:
            self.table = table.select(SCHEMA.names).cast(SCHEMA).replace_schema_metadata(None)
        except (KeyError, pa.ArrowInvalid) as error:
            raise DataError(f"findings have the columns {', '.join(SCHEMA.names)}: {error}") from None
        self.shown = {kind: float(value) for kind, value in shown.items()}
        self._check()

    @staticmethod
    def of(
        kind: str,
        items: Sequence[str],
        scores: np.ndarray | Sequence[float],
        *,
        shown: float,
        action: str | Sequence[str],
        reasons: Sequence[str],
        to: Sequence[str] | None = None,
    ) -> Findings:
        """The findings of one kind: a row for each item that was looked at, all sequences as long as `items`.

        Args:
            shown: the threshold; what scores as much or more is proposed, and needs a reason.
            action: one for all, or one each.
        """
        n = len(items)
        columns: dict[str, Any] = {
            "item": [str(i) for i in items],
            "kind": [kind] * n,
            "score": np.asarray(scores, np.float32),
            "reason": list(reasons),
            "action": [action] * n if isinstance(action, str) else list(action),
            "to": [""] * n if to is None else list(to),
        }
        odd = [f"{len(values)} of {name}" for name, values in columns.items() if len(values) != n]
        if odd:
            raise DataError(f"{kind}: {n} items, but {', '.join(odd)}")
        return Findings(pa.table(columns, SCHEMA), {kind: shown})

    @staticmethod
    def joined(found: Iterable[Findings]) -> Findings:
        """Findings of several kinds as one table."""
        found = list(found)
        table = pa.concat_tables([each.table for each in found]) if found else SCHEMA.empty_table()
        return Findings(table, {kind: value for each in found for kind, value in each.shown.items()})

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Findings({len(self)} looked at, {len(self.proposed())} proposed: {', '.join(self.shown) or 'no kind'})"

    def of_kind(self, kind: str) -> Findings:
        """Those of one kind; one that nobody looked for has none."""
        rows = self.table.filter(pc.equal(self.table["kind"], kind))
        return Findings(rows, {kind: self.shown.get(kind, np.inf)})

    def proposed(self) -> Findings:
        """Those that reach their threshold, the surest of each kind first."""
        kept = self.table.filter(pa.array(self._proposed()))
        order = [("kind", "ascending"), ("score", "descending"), ("item", "ascending")]
        return Findings(kept.sort_by(order), self.shown)

    def rows(self) -> list[dict[str, str | float]]:
        """The rows as plain values."""
        found: list[dict[str, str | float]] = self.table.to_pylist()
        return found

    def save(self, folder: str | Path) -> Path:
        """Write `findings.arrow` into a folder, atomically; the file."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        table = self.table.replace_schema_metadata({_SHOWN: json.dumps(self.shown).encode()})
        with placed(folder / FILE) as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return folder / FILE

    @staticmethod
    def open(folder: str | Path) -> Findings:
        """The findings kept in a folder.

        Raises:
            DataError: there are none, or the file is damaged.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            raise DataError(f"{folder} holds no findings; make them: tellapart curate DATA --out {folder}")
        try:
            with pa.memory_map(str(file)) as source:
                table = pa.ipc.open_file(source).read_all()
            shown = json.loads((table.schema.metadata or {})[_SHOWN])
            return Findings(table, shown)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError(f"{file} is damaged or holds no findings: {error}") from None

    def _proposed(self) -> np.ndarray:
        limits = [self.shown[kind] for kind in self.table["kind"].to_pylist()]
        # A threshold of more digits than a score keeps must not lose the score that it was read off.
        return self.table["score"].to_numpy() >= np.asarray(limits, np.float32)

    def _check(self) -> None:
        items, kinds, actions, to = (self.table[name].to_pylist() for name in ("item", "kind", "action", "to"))
        scores = self.table["score"].to_numpy()
        if any(self.table[name].null_count for name in SCHEMA.names) or not np.isfinite(scores).all():
            raise DataError("findings have a value in every column, and scores that are finite")
        if unknown := set(kinds) - set(self.shown):
            raise DataError(f"findings of {sorted(unknown)[0]!r} lack the threshold from which they are proposed")
        if len(set(zip(items, kinds, strict=True))) != len(items):
            raise DataError("an item stands once among the findings of a kind")
        if odd := sorted(set(actions) - set(ACTIONS)):
            raise DataError(f"{odd[0]!r} is no action; they are {', '.join(ACTIONS)}")
        if any((action in NAMING) != bool(other) for action, other in zip(actions, to, strict=True)):
            raise DataError(f"{' and '.join(NAMING)} say to what, the other actions do not")
        if any(np.isnan(value) for value in self.shown.values()):
            raise DataError("a threshold is a number, or infinity where nothing is proposed")
        reasons = self.table["reason"].to_pylist()
        if any(not reasons[row].strip() for row in np.flatnonzero(self._proposed())):
            raise DataError("what is proposed has a reason, in words")
