"""Hard negatives of a run: its model's nearest documents for every query, what was marked included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Report, Text
from tellapart.data.marks import FILE as MARKS
from tellapart.data.marks import read_marks
from tellapart.engine.borderline import FILE as BORDERLINE
from tellapart.engine.borderline import borderline
from tellapart.engine.crossencoder import CrossEncoderCheck
from tellapart.engine.evaluate import Relevant
from tellapart.engine.mine import mine, summary
from tellapart.engine.mined_rows import Form as Form
from tellapart.engine.mined_rows import write
from tellapart.engine.model import Model, SideName
from tellapart.engine.probing import Probing, probing
from tellapart.engine.spill import ROWS_A_BLOCK, spilled
from tellapart.runs import SIDES, Run


@dataclass(frozen=True)
class Mined:
    """What was mined of a part of a run.

    Attributes:
        table: as `engine.mine.mine` gives it; rows count items of `items`.
        items: the queries, which are the documents too.
        positives: who is positive to whom.
        through: how the nearest were looked for.
    """

    table: pa.Table
    items: Collection
    positives: Relevant
    through: Probing

    def report(self) -> Report:
        """What became of the candidates, and how they were found."""
        report = summary(self.table)
        if self.through.index is not None:
            words = f"{self.through.recall:.3f} of what comparing with all finds, by {self.through.queries} queries"
            report.add(Text(f"Looked for through {self.through.spec}: {words}"))
            report.facts["recall"] = self.through.recall
        return report

    def write(self, path: str | Path, *, form: Form, negatives: int) -> int:
        """Training rows for others, see `engine.mined_rows.write`; how many."""
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
    index: str = "auto",
    guide: str = "",
    check: str = "",
    stages: Stages | None = None,
) -> Mined:
    """Mine a part of the split of a run folder, which keeps the blocks that are done and the borderline pairs.

    Vectors lie in files while they are needed, and what was mined stays in one: memory holds blocks of both.

    Args:
        index: how the nearest are looked for, see `engine.probing.probing`: `auto`, `exact`, or an index part.
        guide: another run folder, or an encoder part such as `minilm` where both sides hold what it reads; drops what
            it finds nearer than the weakest positive.
        check: the folder of a cross-encoder, which is asked about those that would be kept.

    Raises:
        TellapartError: no run folder, an unknown part, options out of bounds, a guide or check that does not fit.
    """
    stages, run = stages or Silence(), Path(run)
    opened = Run(run, stages=stages)
    rows = opened.rows(part)
    items = opened.collection.take(rows)
    sides = items.sides()
    target = items.codes(sides.target)[0] if sides.target else np.arange(len(rows))
    positives = Relevant.by_target(target, target)
    groups = items.numbers("group") if "group" in items.columns else None
    asked = CrossEncoderCheck(check, items[sides.query.column], items[sides.document.column]) if check else None
    # A query that is no document must not be taken for its own document.
    named = str if sides.same_space else "query {}".format
    there = set(items.ids.tolist())
    said = [m for m in read_marks(run / MARKS, missing_ok=True) if {m.a, m.b} <= there]
    with ExitStack() as stack:
        q, k = _both(stack, opened, rows, opened.features, opened.model)
        guides = _guide(stack, opened, rows, guide) if guide else (None, None)
        with stages.stage("index"):
            through = probing(items.ids, k, q, depth, spec=index)
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
                guide_q=guides[0],
                guide_k=guides[1],
                check=asked,
                index=through.index,
                marks=[(named(a), b, word) for m in said for a, b, word in (m, (m.b, m.a, m.said))],
                folder=run / "mined",
                progress=told,
            )
    pairs = borderline(table, (items.ids, items.ids), margin)
    write_atomically(run / BORDERLINE, json.dumps({"pairs": pairs}, indent=1, ensure_ascii=False).encode())
    return Mined(table, items, positives, through)


def _both(
    stack: ExitStack, run: Run, rows: np.ndarray, features: dict[str, np.ndarray], model: Model
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of these items on both sides, in files that are gone when the stack is left."""

    def blocks(side: SideName) -> Iterator[np.ndarray]:
        for start in range(0, len(rows), ROWS_A_BLOCK):
            yield model.project(side, np.asarray(features[side][rows[start : start + ROWS_A_BLOCK]]))

    what = f"{len(rows):,} items"
    q = stack.enter_context(spilled(blocks("query"), run.folder, what=what))
    same = run.collection.sides().same_space and features["query"] is features["document"]
    return q, q if same else stack.enter_context(spilled(blocks("document"), run.folder, what=what))


def _guide(stack: ExitStack, run: Run, rows: np.ndarray, guide: str) -> tuple[np.ndarray, np.ndarray]:
    """The same under another run's model, or under one frozen encoder."""
    sides = run.collection.sides()
    pair = [sides.query.modality, sides.document.modality]
    if (Path(guide) / "model").is_dir():
        model = Run(guide, stages=run.stages).model
        if (read := [model.sides.query.modality, model.sides.document.modality]) != pair:
            raise DataError(f"the guide {guide} goes from {' to '.join(read)}, and this run from {' to '.join(pair)}")
    elif pair[0] != pair[1]:
        raise DataError(
            f"{guide} is one encoder, and this run goes from {' to '.join(pair)}: give another run's folder"
        )
    else:
        model = Model(sides, {pair[0]: guide})
    found = {
        side: run.embedded(getattr(sides, side).column, model.encoders[modality])
        for side, modality in zip(SIDES, pair, strict=True)
    }
    return _both(stack, run, rows, found, model)
