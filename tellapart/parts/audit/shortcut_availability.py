"""Columns that a model leans on more than they tell: the better to be had before the better to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.crossfit import FEWEST, crossed, folds_of
from tellapart.core.cues import Cue, of_columns, one_of_each, together, usual
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.linear import ridge_map
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text

_ITEMS, _SHOWN, _COLUMNS = 60, 12, 12


@part(
    paper="Hermann, Mobahi, Fel, Mozer: On the Foundations of Shortcut Learning, ICLR 2024",
    place="audit",
    system="shortcut-availability",
    traits=("document", "labels"),
    aliases=("shortcut-bias",),
)
def shortcut_availability(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    columns: str = "",
    classify: str = "ridge",
    items: Annotated[int, Field(ge=60, le=100_000)] = 1500,
) -> Report:
    """How far a classifier leans on a column beyond what the column tells of the class.

    The paper makes data of two features, a core of much predictivity and a shortcut of less, makes the shortcut more
    available (larger, less deeply hidden), and measures by how much a network leans on it more than the best classifier
    would. Of a collection, for each column of few values and items told by classifiers of other folds. Formula:

        v(i)            the class that the column's value speaks for: the one in which it is most beyond its share in
                        all, on the other half of the items
        predictivity    the share of items whose class is v
        reliance        the share of items that are told as v
        bias            reliance - predictivity: what a classifier that is right of everything would have is 0
    p is the larger of two: that of told as v against being v, item by item, by signs dealt at random, and that of
    column and class going together (`core.cues.together`). A column that tells nothing is no shortcut.

    Use it for columns that are no pictures (a source, a device, a season), and to compare classifiers by `classify`: a
    linear one, and a network (`feature-split`, which is one where items have one label).

    What was changed: the best classifier of a collection is not known, so the truth stands in its place; on generated
    data the evidence has both. Probes on a grid of the two features need a generator, and are in the evidence too.

    Relations: `counteranimal` measures the errors that come of it, of what pictures look like too; `wcst-ml` which of
    two columns would be taken if both told the class.

    Args:
        vectors: `k` [n, d] of the model, or else `document`.
        columns: names with "|" between, in place of all columns of few values.
        classify: spec of a classifier; "ridge" is a ridge regression onto the classes.

    Raises `DataError` for rows that do not match, no such column, and fewer than two classes of five items.
    """
    x = matrix(vectors.get("document"), what="document")
    x = matrix(vectors["k"], what="k") if "k" in vectors else x
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    wanted = [name for name in columns.split("|") if name]
    if missing := [name for name in (by, *wanted) if name not in collection.columns]:
        raise DataError(f"there is no column {missing[0]!r}; there are {', '.join(collection.columns)}")
    codes, names = collection.codes(by)
    rows = one_of_each(collection.numbers("group") if "group" in collection.columns else np.arange(len(x)))
    count = np.bincount(codes[rows][codes[rows] >= 0], minlength=len(names))
    rows = rows[(codes[rows] >= 0) & np.append(count >= FEWEST, False)[codes[rows]]]
    if len(np.unique(codes[rows])) < 2:
        raise DataError(f"fewer than two values of {by!r} have {FEWEST} items: nothing can be told apart")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(rows, items, replace=False)) if len(rows) > items else rows
    report = Report("Leaning on columns", facts={"seed": seed, "items": len(rows), "classify": classify})
    known, y = np.unique(codes[rows], return_inverse=True)
    report.add(Figure("classes", len(known), count=len(rows), unit="classes", note="a count has no interval"))
    told = [c for c in of_columns(collection.take(rows), but=[by, "label"]) if not wanted or c.name in wanted]
    if len(rows) < _ITEMS or not told:
        why = f"{len(rows)} items and {len(told)} columns of few values"
        return report.add(Text(f"cannot tell: there are {why}; {_ITEMS} items and a column are needed", "verdict"))
    fold = folds_of(np.arange(len(rows)), 2, rng)
    said = _said(unit_rows(x[rows]), y, fold, classify)
    report.add(Figure("accuracy", float((said == y).mean()), count=len(rows), note="of the items drawn; no interval"))
    ids, table = [str(i) for i in collection.ids[rows]], []
    for cue in told[:_COLUMNS]:
        found = _leaning(cue, y, said, fold, ids, [str(names[c]) for c in known], seed)
        if found is not None:
            report.add(found[0])
            table.append(found[1])
    if not table:
        return report.add(Text("cannot tell: no column has its values in both halves of the items", "verdict"))
    return report.add(
        Table("What columns tell, and what is told by them", ["column", "predictivity", "reliance"], table)
    )


def _said(x: np.ndarray, y: np.ndarray, fold: np.ndarray, classify: str) -> np.ndarray:
    if classify != "ridge":
        return crossed(x, y, fold, classify).argmax(axis=1)
    said = np.zeros(len(x), np.int64)
    for f in np.unique(fold):
        rest = fold != f
        said[~rest] = ridge_map(x[rest], np.eye(int(y.max()) + 1)[y[rest]], 1.0)(x[~rest]).argmax(axis=1)
    return said


def _leaning(
    cue: Cue, y: np.ndarray, said: np.ndarray, fold: np.ndarray, ids: list[str], names: list[str], seed: int
) -> tuple[Finding, list[Any]] | None:
    """The finding of one column, and its row of the table."""
    spoken, chances = np.full(len(y), -1), []
    for f in np.unique(fold):
        rest, mine = (fold != f) & (cue.codes >= 0), (fold == f) & (cue.codes >= 0)
        if not rest.any() or not mine.any():
            return None
        votes = usual(cue.codes[rest], y[rest], len(names), len(cue.values)).argmax(axis=0)
        spoken[mine] = votes[cue.codes[mine]]
        chances.append(together(cue.codes[mine], y[mine], votes == np.arange(len(names))[:, None]))
    rows = np.flatnonzero(spoken >= 0)
    leans, is_so = (side[rows] == spoken[rows] for side in (said, y))
    value = leans.astype(float) - is_so
    low, high = redraw.interval(redraw.mean(value), rows, seed=seed, draws=400, ends=(-1.0, 1.0))
    # Both halves were looked at, each with the votes of the other: twice the smaller chance holds for either.
    p = max(mean_above(value, rows, seed=seed), min(1.0, 2 * min(chances)))
    wrong = rows[leans & ~is_so]
    shown = []
    for r in wrong[:_SHOWN]:
        value_of = cue.values[cue.codes[r]]
        shown.append(Example([ids[r]], f"{cue.name} is {value_of}: told as {names[said[r]]}, it is {names[y[r]]}"))
    sentence = (
        f"{leans.mean():.0%} of the items are told as the class that {cue.name} speaks for, and {is_so.mean():.0%} are "
        f"of it: {cue.name} is leaned on beyond what it tells by {value.mean():.0%} of the items."
    )
    figure = Figure(f"bias to {cue.name}", float(value.mean()), low, high, len(rows))
    found = Finding(figure, sentence, p, ids=[ids[r] for r in rows], values=value.tolist(), examples=shown)
    return found, [cue.name, float(is_so.mean()), float(leans.mean())]
