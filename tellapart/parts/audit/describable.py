"""Which classes words find, and which only examples find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.gains import gain
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text

_FEWEST, _FOLDS, _SHOWN = 10, 5, 12


@part(
    paper="Text-describability: Hosoya, Suganuma, Okatani, Open-vocabulary vs. Closed-set: Best Practice for Few-shot "
    "Object Detection Considering Text Describability, 2024",
    place="audit",
    traits=("image", "text-encoder", "labels"),
    aliases=("text-describability",),
)
def describable(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    template: str = "{}",
    shots: Annotated[int, Field(ge=1, le=1000)] = 5,
    classes: Annotated[int, Field(ge=2, le=1000)] = 200,
    most: Annotated[int, Field(ge=1, le=100)] = 20,
    items: Annotated[int, Field(ge=50, le=20_000)] = 4000,
) -> Report:
    """For each class, whether its name or a few of its items find the others better.

    Formula: a picture is given the class of the nearest prototype, among the names of all classes ("by words": the
    text encoder on `template`) or among means of up to `shots` items of each class ("by examples": items of the other
    folds of five, duplicates in one fold). The finding of a class is the share of its items that is right by examples
    less the share that is right by words; its p is that of a sign test in which one item in a hundred is first
    forgiven. Classes are the `most` frequent of those with ten items or more. A class is said to be describable where
    words are right for at least half of its items.

    Use it before you choose between searching by words and by examples, and to see which names say nothing to the
    encoder. Few-shot means of other draws differ: the figure is of one draw of examples a fold.

    Args:
        vectors: `image` [n, d] in the space of `text-encoder`. by: column of class names. template: with {} for the
            name. classes: the most frequent so many compete. items: above so many, so many are drawn.

    Raises `DataError` for rows that do not match, no such column, or fewer than two classes of five items.
    """
    n = len(collection)
    if len(vectors.get("image", ())) != n or not callable(vectors.get("text-encoder")):
        raise DataError(f"give `image` for each of the {n} items, and a `text-encoder`")
    if by not in collection.columns or "{}" not in template:
        raise DataError(f"give a column of class names, not {by!r}, and a template with {{}} for the name")
    codes, names = collection.codes(by)
    count = np.bincount(codes[codes >= 0], minlength=len(names))
    known = np.argsort(-count, kind="stable")[:classes]
    known = known[count[known] >= 5]
    if len(known) < 2:
        raise DataError(f"fewer than two values of {by!r} have five items: nothing can be told apart")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(np.isin(codes, known)))[:items]
    rows.sort()
    z = unit_rows(matrix(np.asarray(vectors["image"])[rows], what="image"))
    place = {int(code): i for i, code in enumerate(known)}
    y = np.array([place[int(code)] for code in codes[rows]])
    group = collection.numbers("group")[rows] if "group" in collection.columns else rows
    words = [str(names[code]) for code in known]
    text = matrix(vectors["text-encoder"]([template.replace("{}", w) for w in words]), dim=z.shape[1], what="text")
    right = {"words": (z @ unit_rows(text).T).argmax(axis=1) == y, "examples": _by_examples(z, y, group, shots, rng)}
    report = Report("Words or examples", facts={"seed": seed, "items": len(rows), "classes": len(known)})
    for name, values in right.items():
        low, high = redraw.interval(redraw.mean(values.astype(float)), group, seed=seed)
        report.add(Figure(f"right by {name}", float(values.mean()), low, high, len(rows), note="share of items"))
    table = []
    for c in range(min(most, len(known))):
        mine = np.flatnonzero(y == c)
        if len(mine) < _FEWEST:
            continue
        more = gain(right["words"][mine], right["examples"][mine], group[mine], seed=seed)
        by_words, by_examples = (float(right[name][mine].mean()) for name in ("words", "examples"))
        low, high = (more.low, more.high) if more.low is not None else (None, None)
        note = "right by examples less right by words" + ("" if low is not None else "; too few for an interval")
        figure = Figure(f"{by} {words[c]}: examples less words", more.value, low, high, more.count, note=note)
        said = f"{by_words:.0%} of {words[c]!r} are found by its name, and {by_examples:.0%} by {shots} examples"
        ids = [str(i) for i in collection.ids[rows[mine]]]
        wrong = mine[~right["words"][mine]][:_SHOWN]
        shown = [Example([str(collection.ids[rows[i]])], f"its name {words[c]!r} does not find it") for i in wrong]
        report.add(Finding(figure, said, more.p, ids=ids, values=more.values.tolist(), examples=shown))
        told = "words" if by_words >= by_examples else "examples"
        table.append([words[c], len(mine), by_words, by_examples, told, "yes" if by_words >= 0.5 else "no"])
    if not table or len(rows) < 5 * _FEWEST:
        report.add(Text(f"cannot tell: {len(rows)} items, and no class of many; give more of each", "verdict"))
    return report.add(Table("Classes", [by, "items", "words", "examples", "search by", "describable"], table))


def _by_examples(z: np.ndarray, y: np.ndarray, group: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    """[n] bool right by the nearest mean of a few items of other folds."""
    fold, right = folds_of(group, _FOLDS, rng), np.zeros(len(y), dtype=bool)
    order = rng.permutation(len(y))
    for f in range(_FOLDS):
        held = fold == f
        means = np.zeros((int(y.max()) + 1, z.shape[1]))
        for c in range(len(means)):
            some = order[(y[order] == c) & ~held[order]][:shots]
            means[c] = z[some].mean(axis=0) if len(some) else 0
        right[held] = (z[held] @ unit_rows(means).T).argmax(axis=1) == y[held]
    return right
