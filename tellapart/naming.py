"""Items that belong to none of some names: `tellapart detect --names`, by score parts of the trait `names`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.progress import Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.data.writing import write_items

SHOWN = 12
FEWEST = 20
MANY = 0.2


def without_a_name(
    run: str | Path, source: str | Path, *, score: str, names: str, by: str, out: str | Path | None, stages: Stages
) -> Report:
    """Say of every item of a collection which name fits it best, or that none does.

    The score is fitted on the run's training pairs, which say nothing of the names; the texts' side encodes the names.
    Nothing is set: the score decides by itself.

    Args:
        names: what is known, parted by commas; empty: the labels of the column `by`.
        by: the column of labels, by which is measured how many held-out items of these names are called unknown.

    Raises:
        DataError: the run has no texts beside its items, or there are fewer than two names.
    """
    from tellapart.data.sources import read
    from tellapart.engine import intervals
    from tellapart.runs import Run, embedded

    opened = Run(run, stages=stages)
    sides = opened.collection.sides()
    if sides.same_space or sides.query.modality != "text":
        raise DataError(
            f"names are compared with items by what pairs of texts and items taught, and {run} has no texts beside its "
            f"{sides.document.column}: use knn, which needs none"
        )
    labels = opened.collection.values(by) if by else [None] * len(opened.collection)
    given = names.split(",") if names else sorted({str(v) for v in labels if v is not None})
    known = list(dict.fromkeys(name.strip() for name in given if name.strip()))
    if len(known) < 2:
        raise DataError('name what is known, two names or more: --names "cat,dog", or their column with --by')
    train = opened.rows("train")
    if len(train) < FEWEST:
        raise DataError(f"{len(train)} training pairs are too few to learn what says no: give {FEWEST} or more")
    z, texts = opened.vectors["document"], opened.vectors["query"]
    with stages.stage(f"fit {score}"):
        fitted = make("score", score).fit(z[train], texts[train], names=opened.model.encode_query(known))
    with stages.stage("read") as told:
        new = read(source, progress=told)
    if sides.document.column not in new.columns:
        raise DataError(f"the run searches {sides.document.column!r}, and {source} has {', '.join(new.columns)}")
    encoder = opened.model.encoders[sides.document.modality]
    x = opened.model.project("document", np.asarray(embedded(new, sides.document.column, encoder, stages=stages)))
    found, unknown = fitted.score(x), fitted.unknown(x)
    nearest = np.asarray(known)[(x @ fitted.names_.T).argmax(axis=1)]
    report = Report(f"None of {len(known)} names, by {score}: {int(unknown.sum())} of {len(new)}")
    report.add(Figure("unknown share", float(unknown.mean()), count=len(new), note="of the new collection"))
    held = [r for r in (*opened.rows("validation"), *opened.rows("test")) if str(labels[r]) in known]
    if held:
        stopped = fitted.unknown(z[held]).astype(float)
        low, high = intervals.bootstrap(
            stopped, clusters=opened.collection.numbers("group")[held], within=intervals.SHARE
        )
        ends = [None if np.isnan(end) else float(end) for end in (low, high)]
        report.add(Figure("false alarms on held-out items", float(stopped.mean()), ends[0], ends[1], len(held)))
        if stopped.mean() > MANY:
            said = (
                "Deciding without a threshold stops many items that have one of these names: the run's pairs taught "
                "too little of what says no. Go by the order of scores, or by knn or hvcm where items have labels."
            )
            report.add(Text(said, "warning"))
    else:
        report.add(Text("No held-out item is known to be of one of these names, so false alarms are not measured; "
                        "name a column of labels with --by.", "warning"))  # fmt: skip
    report.add(_least_known(new, found, unknown, nearest))
    report.facts = {"run": str(run), "score": score, "names": ", ".join(known), "new items": len(new),
                    "problems": len(new.problems)}  # fmt: skip
    if out is not None:
        made: dict[str, Any] = {"id": new.ids.tolist(), "score": found, "unknown": unknown, "name": nearest.tolist()}
        report.facts["written"] = str(write_items(Collection.of(made), Path(out)))
    return report


def _least_known(new: Collection, found: np.ndarray, unknown: np.ndarray, nearest: np.ndarray) -> Table:
    rows = [
        [new.ids[r], float(found[r]), "unknown" if unknown[r] else "known", str(nearest[r])]
        for r in np.argsort(-found, kind="stable")[:SHOWN]
    ]
    return Table("The least known", ["id", "score", "", "nearest name"], rows)
