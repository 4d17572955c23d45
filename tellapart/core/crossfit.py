"""What a model says of items that it was not fitted on: folds that keep groups whole, models of labels and of pairs.

A model that has seen a wrong label or a swapped pair has learnt it, and calls it right. Fitted on the other folds, it
says what the rest of the collection would make of the item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix, unit_rows
from tellapart.core.parts import make

Tower = Callable[[np.ndarray], np.ndarray]
FEWEST = 5
_YES, _NO = ("yes", "true", "1", "1.0"), ("no", "false", "0", "0.0", "")


@dataclass(frozen=True)
class Labels:
    """The items of a collection whose labels can be judged by the others.

    Attributes:
        rows: [n] rows of the collection; x: [n, d] float64 features.
        codes: [n] labels as given, numbers of `names`; every name is that of some item.
        fold: [n] fold numbers; duplicates are in one.
    """

    rows: np.ndarray
    x: np.ndarray
    codes: np.ndarray
    names: list[str]
    fold: np.ndarray


def judged(vectors: Mapping[str, np.ndarray], collection: Collection, *, folds: int, seed: int) -> Labels:
    """The labelled items of classes that have at least five items, in more than one fold.

    A class must be seen by every model, or its items would be called wrong for want of it.

    Args:
        vectors: `document` [n, d].
        collection: with a column `label`; `near` or `group` says what is kept in one fold.

    Raises:
        DataError: no labels, fewer than two such classes, rows that do not match, or values that are not finite.
    """
    x = matrix(vectors.get("document"), what="document")
    if len(x) != len(collection):
        raise DataError(f"{len(collection)} items need as many rows of vectors, not {len(x)}")
    if "label" not in collection.columns:
        raise DataError("the collection has no column 'label' to look for errors in")
    whole = next((collection.codes(c)[0] for c in ("near", "group") if c in collection.columns), np.arange(len(x)))
    given, known = collection.codes("label")
    fold = folds_of(whole, folds, np.random.default_rng(seed))
    spread = [len(np.unique(fold[given == c])) > 1 and (given == c).sum() >= FEWEST for c in range(len(known))]
    rows = np.flatnonzero((given >= 0) & np.append(spread, False)[given])
    if len(np.unique(given[rows])) < 2:
        raise DataError(f"fewer than two labels have {FEWEST} items that are no duplicates: nothing can be compared")
    classes, codes = labels(given[rows], len(rows))
    return Labels(rows, x[rows], codes, [str(known[c]) for c in classes], fold[rows])


def trusted(collection: Collection) -> np.ndarray:
    """[n] bool, what the column `trusted` says: yes or no, true or false, 1 or 0; an empty value is no.

    Raises:
        DataError: no such column, or another value.
    """
    if "trusted" not in collection.columns:
        raise DataError("say in a column 'trusted' which items somebody looked at and found right: yes or no")
    said = ["" if value is None else str(value).strip().lower() for value in collection.values("trusted")]
    if odd := sorted(set(said) - {*_YES, *_NO}):
        raise DataError(f"the column 'trusted' holds {odd[0]!r}; write yes or no")
    return np.array([value in _YES for value in said], bool)


def crossed(
    x: np.ndarray, codes: np.ndarray, fold: np.ndarray, classify: str, kept: np.ndarray | None = None
) -> np.ndarray:
    """[n, classes] float64 probabilities by classifiers that were fitted on the other folds; rows sum to 1.

    Args:
        classify: spec of a part of shape `classify`.
        kept: [n] bool, what may be learnt from; None: all. A class that is not kept in the other folds is given 0.

    Raises:
        DataError: fewer than two classes are kept outside of a fold.
    """
    proba = np.zeros((len(x), int(codes.max()) + 1))
    for f in np.unique(fold):
        rest = fold != f if kept is None else (fold != f) & kept
        part = make("classify", classify).fit(x[rest].astype(np.float32), codes[rest])
        proba[np.ix_(fold == f, part.classes_)] = part.predict_proba(x[fold == f].astype(np.float32))
    return proba / np.maximum(proba.sum(axis=1, keepdims=True), 1e-12)


def folds_of(group: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """[n] fold numbers below `folds`, one for all items of a group; groups are dealt at random, the largest first."""
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    order = rng.permutation(len(size))
    order = order[np.argsort(-size[order], kind="stable")]
    fold = np.empty(len(size), np.int64)
    fold[order] = np.arange(len(size)) % folds
    found: np.ndarray = fold[number]
    return found


def correlated(x: np.ndarray, y: np.ndarray, *, dim: int, ridge: float, power: float = 0.5) -> tuple[Tower, Tower]:
    """Two linear maps in closed form into a space in which the rows of a pair lie together (canonical correlation).

    C = X'X / n + ridge * mean variance * I for each side, U S V' = C_x^(-1/2) X'Y / n C_y^(-1/2); a tower is
    S^power U' C_x^(-1/2) (x - mean), brought to unit length, of the first `dim` directions.
    """
    middle = [side.mean(axis=0) for side in (x, y)]
    a, b = x - middle[0], y - middle[1]
    roots = [np.linalg.cholesky(_ridged(side.T @ side / len(side), ridge)) for side in (a, b)]
    whitened = np.linalg.solve(roots[0], a.T @ b / len(x))
    whitened = np.linalg.solve(roots[1], whitened.T).T
    u, s, v = np.linalg.svd(whitened, full_matrices=False)
    weight = s[:dim] ** power
    maps = [np.linalg.solve(root.T, turn[:, :dim] * weight) for root, turn in zip(roots, (u, v.T), strict=True)]

    def tower(side: int) -> Tower:
        return lambda rows: unit_rows((rows - middle[side]) @ maps[side])

    return tower(0), tower(1)


def _ridged(covariance: np.ndarray, ridge: float) -> np.ndarray:
    return covariance + max(ridge * float(np.trace(covariance)) / len(covariance), 1e-12) * np.eye(len(covariance))
