"""Hard negatives of a run: its model's nearest documents for every query, what was marked included."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection, Side, Sides
from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Report, Text
from tellapart.data.identity import curate
from tellapart.data.marks import FILE as MARKS
from tellapart.data.marks import read_marks
from tellapart.data.sources import read
from tellapart.engine.borderline import FILE as BORDERLINE
from tellapart.engine.borderline import borderline
from tellapart.engine.crossencoder import CrossEncoderCheck
from tellapart.engine.evaluate import Relevant
from tellapart.engine.mine import mine, summary
from tellapart.engine.mined_rows import Form as Form
from tellapart.engine.mined_rows import write, write_reasons
from tellapart.engine.model import Model, SideName
from tellapart.engine.probing import Probing, probing
from tellapart.engine.spill import ROWS_A_BLOCK, spilled
from tellapart.runs import Run, embedded


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

    def write_reasons(self, path: str | Path) -> int:
        """Every candidate with its ids, score, rank, rule and opinions, as Parquet or JSONL; how many."""
        return write_reasons(self.table, path, self.items["id"], self.items["id"])

    def write(self, path: str | Path, *, form: Form, negatives: int) -> int:
        """Training rows for others, see `engine.mined_rows.write`; how many."""
        sides = self.items.sides()
        anchors, documents = self.items[sides.query.column], self.items[sides.document.column]
        return write(self.table, path, anchors, documents, self.positives, form=form, negatives=negatives)


def mine_run(
    run: str | Path,
    source: str | Path | None = None,
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
    """Mine a run folder's own items, or another collection with its model.

    The folder keeps the blocks that are done and, of its own items, the borderline pairs. Vectors lie in files while
    they are needed, and what was mined stays in one: memory holds blocks of both.

    Args:
        source: another collection, as `read` takes it, mined whole; None: the `part` of the run's split.
        index: how the nearest are looked for, see `engine.probing.probing`: `auto`, `exact`, or an index part.
        guide: another run folder, or an encoder part such as `minilm` where both sides hold what it reads; drops what
            it finds nearer than the weakest positive.
        check: the folder of a cross-encoder, which is asked about those that would be kept.

    Raises:
        TellapartError: no run folder, an unknown part, options out of bounds, a guide or check that does not fit.
    """
    stages, run = stages or Silence(), Path(run)
    opened = Run(run, stages=stages)
    items = opened.collection.take(opened.rows(part)) if source is None else _read(source, stages)
    sides = items.sides()
    _check_pair(sides, opened.model, run)
    target = items.codes(sides.target)[0] if sides.target else np.arange(len(items))
    positives = Relevant.by_target(target, target)
    groups = items.numbers("group") if "group" in items.columns else None
    asked = CrossEncoderCheck(check, items[sides.query.column], items[sides.document.column]) if check else None
    # A query that is no document must not be taken for its own document.
    named = str if sides.same_space else "query {}".format
    there = set(items.ids.tolist())
    said = [m for m in read_marks(run / MARKS, missing_ok=True) if {m.a, m.b} <= there]
    with ExitStack() as stack:
        q, k = _both(stack, items, opened.model, run, stages)
        guides = _both(stack, items, _guide(guide, sides), run, stages) if guide else (None, None)
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
    if source is None:
        pairs = borderline(table, (items.ids, items.ids), margin)
        write_atomically(run / BORDERLINE, json.dumps({"pairs": pairs}, indent=1, ensure_ascii=False).encode())
    return Mined(table, items, positives, through)


def _read(source: str | Path, stages: Stages) -> Collection:
    with stages.stage(f"read {Path(str(source)).name}") as told:
        found = read(source, progress=told)
    with stages.stage("look for duplicates") as told:
        return curate(found, progress=told)


def _check_pair(sides: Sides, model: Model, name: str | Path) -> None:
    """Refuse a model that does not read what stands on the two sides."""
    wanted, read = (f"{s.query.modality} to {s.document.modality}" for s in (sides, model.sides))
    if wanted != read:
        raise DataError(f"{name} goes from {read}, and this collection from {wanted}: they do not fit")


def _both(
    stack: ExitStack, items: Collection, model: Model, folder: Path, stages: Stages
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the items on both sides, in files that are gone when the stack is left."""
    sides = items.sides()

    def spilt(name: SideName) -> np.ndarray:
        side: Side = getattr(sides, name)
        x = embedded(items, side.column, model.encoders[side.modality], stages=stages)
        starts = range(0, len(x), ROWS_A_BLOCK)
        blocks = (model.project(name, np.asarray(x[start : start + ROWS_A_BLOCK])) for start in starts)
        return stack.enter_context(spilled(blocks, folder, what=f"{len(x):,} items"))

    q = spilt("query")
    return q, q if sides.same_space else spilt("document")


def _guide(guide: str, sides: Sides) -> Model:
    """The model of another run, or one frozen encoder."""
    if (Path(guide) / "model").is_dir():
        model = Run(guide).model
        _check_pair(sides, model, guide)
        return model
    if not sides.comparable:
        raise DataError(f"{guide} is one encoder, and the two sides hold different things: give a run's folder")
    return Model(sides, {sides.query.modality: guide})
