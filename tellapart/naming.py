"""Items that belong to none of some names: `tellapart detect --names`, by score parts of the trait `names`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tellapart import detecting
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.progress import Stages
from tellapart.core.report import Report, Text

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
    new = detecting.incoming(source, sides.document.column, run, stages)
    z, texts = opened.vectors["document"], opened.vectors["query"]
    with stages.stage(f"fit {score}"):
        fitted = make("score", score).fit(z[train], texts[train], names=opened.model.encode_query(known))
    encoder = opened.model.encoders[sides.document.modality]
    x = opened.model.project("document", np.asarray(embedded(new, sides.document.column, encoder, stages=stages)))
    found, unknown = fitted.score(x), fitted.unknown(x)
    nearest = np.asarray(known)[(x @ fitted.names_.T).argmax(axis=1)]
    report = Report(f"None of {len(known)} names, by {score}: {int(unknown.sum())} of {len(new)}")
    report.add(detecting.unknown_share(unknown))
    held = [r for r in (*opened.rows("validation"), *opened.rows("test")) if str(labels[r]) in known]
    if held:
        stopped = fitted.unknown(z[held])
        report.add(detecting.false_alarms(stopped, opened.collection.numbers("group")[held]))
        if stopped.mean() > MANY:
            said = (
                "Deciding without a threshold stops many items that have one of these names: the run's pairs taught "
                "too little of what says no. Go by the order of scores, or by knn or hvcm where items have labels."
            )
            report.add(Text(said, "warning"))
    else:
        report.add(Text("No held-out item is known to be of one of these names, so false alarms are not measured; "
                        "name a column of labels with --by.", "warning"))  # fmt: skip
    report.add(detecting.listed(new, found, unknown, ("nearest name", nearest.tolist())))
    columns = {"score": found, "unknown": unknown, "name": nearest.tolist()}
    return detecting.finished(report, new, columns, out, run=str(run), score=score, names=", ".join(known))
