"""What a model says of items that it was not fitted on: folds that keep groups whole, and a model of pairs.

A model that has seen a wrong label or a swapped pair has learnt it, and calls it right. Fitted on the other folds, it
says what the rest of the collection would make of the item.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tellapart.core.features import unit_rows

Tower = Callable[[np.ndarray], np.ndarray]


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
