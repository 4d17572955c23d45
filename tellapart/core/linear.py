"""A small linear model that the measuring parts share. numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tellapart.core.features import unit_rows

FOLDS = 5


def ridge_map(x: np.ndarray, y: np.ndarray, ridge: float) -> Callable[[np.ndarray], np.ndarray]:
    """x -> mean(y) + (x - mean(x)) W with W = argmin |Y - X W|^2 + ridge * (mean eigenvalue of X'X) |W|^2, centred."""
    middle, centre = x.mean(axis=0), y.mean(axis=0)
    z = x - middle
    gram = z.T @ z
    penalty = ridge * float(np.trace(gram)) / len(gram) + 1e-12
    weight = np.linalg.solve(gram + penalty * np.eye(len(gram)), z.T @ (y - centre))
    return lambda rows: centre + (rows - middle) @ weight


def ridge_scorer(
    q: np.ndarray, d: np.ndarray, of: np.ndarray, rows: np.ndarray, ridge: float
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(query rows, document rows) -> cosines about the mean document, of a ridge map from queries to documents.

    Args:
        q, d: [n, a], [n, b] unit rows; of: [n] from 0, equal where a document answers a query: a query is mapped to the
            mean of its documents. rows: what it is fitted on.
    """
    _, code = np.unique(of[rows], return_inverse=True)
    sums = np.zeros((code.max() + 1, d.shape[1]))
    np.add.at(sums, code, d[rows])
    head, centre = ridge_map(q[rows], (sums / np.bincount(code)[:, None])[code], ridge), d[rows].mean(axis=0)
    return lambda asked, pool: unit_rows(head(q[asked]) - centre) @ unit_rows(d[pool] - centre).T


def crossed(x: np.ndarray, codes: np.ndarray, items: np.ndarray, ridge: float, rng: np.random.Generator) -> np.ndarray:
    """[p, s] whether a ridge classifier names the class of each item in sets of s, fitted without the sets it answers.

    Args:
        x: [n, d]; codes: [n] classes, -1 for none; items: [p, s] rows of x.
    """
    fold, right = rng.permutation(len(items)) % FOLDS, np.zeros(items.shape, dtype=bool)
    classes = np.eye(int(codes.max()) + 1)
    for f in range(FOLDS):
        mine = items[fold == f]
        rest = np.setdiff1d(np.flatnonzero(codes >= 0), mine)
        if len(mine) and len(rest):
            named = ridge_map(x[rest], classes[codes[rest]], ridge)(x[mine.ravel()]).argmax(axis=1)
            right[fold == f] = named.reshape(mine.shape) == codes[mine]
    return right
