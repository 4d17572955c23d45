"""Which slices of a collection a model serves worse: every value of every column, and every two of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import holm, wilson
from tellapart.core.collection import Collection
from tellapart.core.cues import of_columns, one_of_each
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.outcomes import Outcomes, outcomes
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._group_mend import group_mend
from tellapart.parts.audit._slices import Slice, disparities, sliced

_SHOWN, _NEEDED = 12, 60


@part(
    paper="Gustafson, Rolland, Ravi, Duval, Adcock, Fu, Hall, Ross: FACET: Fairness in Computer Vision Evaluation "
    "Benchmark, ICCV 2023",
    place="audit",
    system="facet",
    traits=("document",),
    aliases=("facet", "disaggregated", "subgroups"),
)
def slices(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    predicted: str = "",
    columns: str = "",
    least: Annotated[int, Field(ge=5, le=10_000)] = 20,
    intersections: bool = True,
    most: Annotated[int, Field(ge=1, le=1000)] = 30,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=60, le=1_000_000)] = 10_000,
) -> Report:
    """How much less often a model is right on a slice of the items than on the others of the same classes.

    Formula: r_c(S) is the share of the items of class c in slice S that the model has right (its recall),

        gap(S) = sum_c w_c (r_c(not S) - r_c(S)) / sum_c w_c,   w_c = m_c(S) m_c(not S) / (m_c(S) + m_c(not S)),

    with m_c items (Mantel and Haenszel's weights). A slice is a value of a column, or two values of two columns
    (`intersections`), that `least` items have and as many have not. p is the exact chance of so few right ones in S
    where those of each class are dealt to its items at random: a slice full of hard classes has no gap. The published
    benchmark compares two values of one class, recall(l1, c) - recall(l2, c); these disparities are in a table, with
    Newcombe's intervals. The interval of a gap is of the binomial variance of every share.

    The slices with most items, at most `most`, single ones first, are findings, whatever their gaps; the surest of all
    others is one more, its p times their number. The table has the gaps whose intervals begin highest, so that a few
    items by chance do not stand above many, with p corrected for all (Holm).

    Use it to learn whom a classifier or a search fails. Columns are taken that have few values with ten items or more:
    no ids, texts, or what a reader gave a meaning. Why a slice fares worse, `set-differences` may say in words.

    Relations: `core.outcomes` says what is right: labels told by a ridge regression on the other folds, or own
    documents found; `predicted` takes what any other model said. Detection (recall over overlaps) is left out.

    Args:
        vectors: `document` [n, d] (and `k`, `q`, as `core.outcomes` takes them).
        by: the column of classes; predicted: a column of what a model said of them.
        columns: names with "|" between, in place of all columns of few values.
        items: above this many, so many are drawn; duplicates count once.

    Raises `DataError` for rows that do not match, no such column, and neither labels nor pairs.
    """
    x = matrix(vectors.get("document"), what="document")
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    wanted = [name for name in columns.split("|") if name]
    if missing := [name for name in (*wanted, *filter(None, [predicted])) if name not in collection.columns]:
        raise DataError(f"there is no column {missing[0]!r}; there are {', '.join(collection.columns)}")
    if predicted:
        said = _predicted(collection, by, predicted)
    else:
        said = outcomes(vectors, collection, seed=seed, by="" if by == "label" else by, k=k, most=items)
    at = one_of_each(said.groups)
    if len(at) > items:
        at = np.sort(np.random.default_rng(seed).choice(at, items, replace=False))
    rows, right = said.rows[at], said.right[at]
    truth = None if said.truth is None else [said.truth[i] for i in at]
    report = Report("Slices", facts={"seed": seed, "items": len(rows), "asked": said.asked})
    if len(rows) < _NEEDED:
        return report.add(Text(f"cannot tell: {len(rows)} items were asked about, {_NEEDED} are needed", "verdict"))
    accuracy = float(right.mean())
    report.add(Figure("accuracy", accuracy, *wilson(accuracy, len(right)), count=len(right)))
    cues = [c for c in of_columns(collection.take(rows), but=[by, predicted]) if not wanted or c.name in wanted]
    strata = np.zeros(len(rows), np.int64) if truth is None else np.unique(truth, return_inverse=True)[1]
    single, double = sliced(cues, right, strata, least, intersections=intersections)
    if not single and not double:
        return report.add(Text(f"cannot tell: no column has a value with {least} items and as many others", "verdict"))
    ids = [str(collection.ids[r]) for r in rows]
    chosen, left = (every := [*single, *double])[:most], every[most:]
    for s in chosen:
        mend = "" if "&" in s.name or predicted else group_mend(collection, by, "column", s.name.partition("=")[0])
        report.add(replace(_finding(s, 1, ids, right, truth), mend=mend))
    if left:
        report.add(_finding(min(left, key=lambda s: s.p), len(left), ids, right, truth))
    corrected = holm([s.p for s in every])
    order = sorted(range(len(every)), key=lambda i: -every[i].low)[:_SHOWN]
    table = [
        [every[i].name, int(every[i].inside.sum()), _figure(every[i], len(right)), float(corrected[i])] for i in order
    ]
    note = f"accuracy of others of the same classes less that of the slice; p corrected for all {len(every)} (Holm)"
    report.add(Table("The worst gaps", ["slice", "items", "gap", "p"], table, note))
    if truth is not None and (rows_of := disparities(cues, right, truth, least)):
        head = ["class", "column", "least right", "most right", "disparity"]
        report.add(Table("Disparities within a class", head, rows_of[:_SHOWN], f"of {least} items or more each"))
    return report


def _predicted(collection: Collection, by: str, predicted: str) -> Outcomes:
    """What a model said, as the collection holds it."""
    if by not in collection.columns:
        raise DataError(f"what was predicted is compared with a column {by!r}, and there is none: name it with 'by'")
    both = zip(collection.values(by), collection.values(predicted), strict=True)
    told = [(row, str(a), str(b)) for row, (a, b) in enumerate(both) if a is not None and b is not None]
    rows = np.array([row for row, _, _ in told], np.int64)
    right = np.array([a == b for _, a, b in told], float)
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    asked = f"{predicted} equals {by}"
    return Outcomes(rows, right, groups[rows], asked, [a for _, a, _ in told], [b for *_, b in told])


def _figure(found: Slice, count: int) -> Figure:
    return Figure(f"slice {found.name}", found.value, found.low, found.high, count)


def _finding(found: Slice, times: int, ids: Sequence[str], right: np.ndarray, truth: Sequence[str] | None) -> Finding:
    """The finding of one slice; `times` is how many it is the surest of."""
    figure, n = _figure(found, len(right)), int(found.inside.sum())
    of = f", the surest of {times} further slices" if times > 1 else ""
    said = (
        f"The {n} items with {found.name}{of} come out right {abs(found.value):.0%} "
        f"{'less' if found.value >= 0 else 'more'} often than others{'' if truth is None else ' of the same classes'}."
    )
    wrong = np.flatnonzero(found.inside & (right == 0))[:_SHOWN]
    shown = [Example([ids[i]], "wrong" if truth is None else f"{truth[i]}, taken for another") for i in wrong]
    return Finding(figure, said, min(1.0, times * found.p), ids=list(ids), values=found.parts.tolist(), examples=shown)
