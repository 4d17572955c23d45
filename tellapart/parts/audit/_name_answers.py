"""Names of what is in pictures, and which of them a model answers with: by texts, or by the labels of other items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.crossfit import FEWEST, folds_of
from tellapart.core.cues import one_of_each
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.linear import ridge_map
from tellapart.parts.audit._nearly_right import vectors_of
from tellapart.parts.audit._things import Things, things_of
from tellapart.parts.audit._written import drawable, shuffled

POOL, MOST, FOLDS, RIDGE = 2000, 48, 4, 1.0

Told = Callable[[np.ndarray, np.ndarray], np.ndarray]


def names_of(
    vectors: Mapping[str, Any], collection: Collection, by: str, column: str, few: int, rng: np.random.Generator
) -> Things:
    """Labels of five items or more; or, where texts are read and there are fewer than `few`, tags or nouns.

    Raises:
        DataError: neither labels nor texts.
    """
    labels = _labels(collection, by, rng) if by in collection.columns and not column else None
    if labels is not None and (len(labels.names) >= few or "text-encoder" not in vectors):
        return labels
    if "text-encoder" not in vectors:
        raise DataError(
            f"there is no column {by!r} of labels, and no texts are read: there are no names to answer with"
        )
    found = things_of(collection, column, items=POOL, least=FEWEST, most=MOST, rng=rng)
    some = found.has.any(axis=1)
    return Things(found.rows[some], found.names, found.has[some], found.column)


def answering(vectors: Mapping[str, Any], x: np.ndarray, groups: np.ndarray, held: Things, ask: str) -> Told:
    """From [m, d] unit vectors of pictures, and the numbers in `held` of what they show, to the numbers of names.

    Where texts are read, the name of the nearest text; else what a ridge regression of the other folds' items says.

    Args:
        x: [n, d] unit vectors of the items of `held`; groups: [n].
        ask: what is asked of a {name}.
    """
    if "text-encoder" in vectors:
        t = vectors_of(vectors["text-encoder"], [ask.replace("{name}", name) for name in held.names], x.shape[1])
        return lambda z, at: np.asarray((unit_rows(z) @ t.T).argmax(axis=1))
    fold = folds_of(groups, FOLDS, np.random.default_rng(0))
    maps = [ridge_map(x[fold != f], held.has[fold != f].astype(float), RIDGE) for f in range(FOLDS)]

    def told(z: np.ndarray, at: np.ndarray) -> np.ndarray:
        out = np.zeros(len(z), np.int64)
        for f in range(FOLDS):
            if (mine := fold[at] == f).any():
                out[mine] = maps[f](unit_rows(z[mine])).argmax(axis=1)
        return out

    return told


def to_write(held: Things, items: int, own: bool, rng: np.random.Generator) -> list[tuple[int, list[str]]]:
    """Up to so many items, and what is written on each: a name that it lacks, that name's letters, a name that it has.

    The names come in turns, so that as many different ones are written as can be.
    """
    able = rng.permutation([n for n, name in enumerate(held.names) if drawable(name)]).tolist()
    found: list[tuple[int, list[str]]] = []
    for row in rng.permutation(len(held.rows)).tolist():
        mine = [held.names[n] for n in able if held.has[row, n]]
        wrong = next((n for n in able if not held.has[row, n]), None)
        if wrong is None or (own and not mine):
            continue
        able = [*(n for n in able if n != wrong), wrong]
        if (none := shuffled(held.names[wrong], held.names, rng)) is not None:
            found.append((row, [held.names[wrong], none, *mine[:own]]))
        if len(found) == items:
            break
    return sorted(found)


def _labels(collection: Collection, by: str, rng: np.random.Generator) -> Things | None:
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    codes, names = collection.codes(by)
    rows = one_of_each(groups)
    rows = rows[codes[rows] >= 0]
    rows = np.sort(rng.choice(rows, POOL, replace=False)) if len(rows) > POOL else rows
    kept = np.flatnonzero(np.bincount(codes[rows], minlength=len(names)) >= FEWEST)
    if len(kept) < 2:
        return None
    rows = rows[np.isin(codes[rows], kept)]
    return Things(rows, [str(names[c]) for c in kept], codes[rows][:, None] == kept, by)
