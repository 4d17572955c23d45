"""Hard negatives of a run: its model's nearest documents for every query, what was marked included."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.files import write_atomically
from tellapart.core.parts import make
from tellapart.core.progress import Silence, Stages
from tellapart.data.marks import FILE as MARKS
from tellapart.data.marks import read_marks
from tellapart.engine.borderline import FILE as BORDERLINE
from tellapart.engine.borderline import borderline
from tellapart.engine.evaluate import Relevant
from tellapart.engine.mine import Form as Form
from tellapart.engine.mine import mine, write
from tellapart.runs import Run


@dataclass(frozen=True)
class Mined:
    """What was mined of a part of a run.

    Attributes:
        table: as `engine.mine.mine` gives it; rows count items of `items`.
        items: the queries, which are the documents too.
        positives: who is positive to whom.
    """

    table: pa.Table
    items: Collection
    positives: Relevant

    def write(self, path: str | Path, *, form: Form, negatives: int) -> int:
        """Training rows for others, see `engine.mine.write`; how many."""
        sides = self.items.sides()
        anchors, documents = self.items[sides.query.column], self.items[sides.document.column]
        return write(self.table, path, anchors, documents, self.positives, form=form, negatives=negatives)


def mine_run(
    run: str | Path,
    *,
    part: str = "train",
    depth: int = 100,
    keep: int = 10,
    margin: float = 0.05,
    index: str = "",
    stages: Stages | None = None,
) -> Mined:
    """Mine a part of the split of a run folder, which keeps the blocks that are done and the borderline pairs.

    Args:
        index: an index part to search through, such as `ivf(probe=64)`; "" compares with all.

    Raises:
        TellapartError: no run folder, an unknown part, options out of bounds.
    """
    stages, run = stages or Silence(), Path(run)
    opened = Run(run, stages=stages)
    rows = opened.rows(part)
    items = opened.collection.take(rows)
    sides = items.sides()
    target = items.codes(sides.target)[0] if sides.target else np.arange(len(rows))
    positives = Relevant.by_target(target, target)
    groups = items.numbers("group") if "group" in items.columns else None
    q, k = (opened.vectors[side][rows] for side in ("query", "document"))
    through = make("index", index) if index else None
    if through is not None:
        with stages.stage("index"):
            through.add(items.ids, k)
    # A query that is no document must not be taken for its own document.
    named = str if sides.same_space else "query {}".format
    there = set(items.ids.tolist())
    said = [m for m in read_marks(run / MARKS, missing_ok=True) if {m.a, m.b} <= there]
    with stages.stage("mine") as told:
        table = mine(
            q,
            k,
            query_ids=[named(i) for i in items.ids],
            document_ids=items.ids,
            query_groups=groups,
            document_groups=groups,
            positives=positives,
            depth=depth,
            keep=keep,
            margin=margin,
            index=through,
            marks=[(named(a), b, word) for m in said for a, b, word in (m, (m.b, m.a, m.said))],
            folder=run / "mined",
            progress=told,
        )
    pairs = borderline(table, (items.ids, items.ids), margin)
    write_atomically(run / BORDERLINE, json.dumps({"pairs": pairs}, indent=1, ensure_ascii=False).encode())
    return Mined(table, items, positives)
