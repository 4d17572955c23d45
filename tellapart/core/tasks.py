"""A linear representation that many tasks share, and which of them the head of a further task is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shared:
    """What tasks of one kind of features have in common.

    Attributes:
        mean: [d] of the features; basis: [d, k]; heads: [k, tasks], one column each.
    """

    mean: np.ndarray
    basis: np.ndarray
    heads: np.ndarray

    def project(self, x: np.ndarray) -> np.ndarray:
        """[n, k] of features [n, d]."""
        found: np.ndarray = (x - self.mean) @ self.basis
        return found


def shared(
    mean: np.ndarray, covariance: np.ndarray, moments: np.ndarray, counts: np.ndarray, *, dim: int, ridge: float
) -> Shared:
    """The basis and heads of the best maps of rank `dim` to the labels of all tasks, by least squares::

        min over B, w_t:   sum_t n_t || S^{1/2} (S^{-1} b_t - B w_t) ||^2,    S = C + ridge tr(C^2) / tr(C) I

    With a covariance C that all tasks share, this is sum_t || (x_t - mean) B w_t - y_t ||^2 but for a constant. It is
    solved by the leading singular vectors U of S^{-1/2} b_t sqrt(n_t): B = S^{-1/2} U and w_t = B' b_t.

    Args:
        mean: [d] of the features. covariance: [d, d] of them.
        moments: [d, tasks] b_t, the mean of (x - mean) y over the n_t items of a task; counts: [tasks] n_t.
    """
    scale = (covariance**2).sum() / max(float(np.trace(covariance)), 1e-12) or 1.0
    values, vectors = np.linalg.eigh(covariance + ridge * scale * np.eye(len(covariance)))
    root = vectors / np.sqrt(values)  # S^{-1/2} but for a rotation, which the basis takes back
    leading = np.linalg.svd(root.T @ moments * np.sqrt(counts), full_matrices=False)[0][:, :dim]
    basis = root @ leading
    return Shared(mean, basis, basis.T @ moments)


def budgets(weights: np.ndarray, n: int, sizes: np.ndarray) -> np.ndarray:
    """[sources] int64 items to take of each: in proportion to the weights, none above its size, n in all.

    What sources of some weight cannot give is taken evenly from those of no weight. Fractions go to the largest
    remainders, the first of equal ones.
    """
    taken = np.zeros(len(sizes))
    for share in (np.asarray(weights, float), np.ones(len(sizes))):
        open_ = (share > 0) & (taken < sizes)
        while open_.any() and (left := n - taken.sum()) > 1e-9:
            wanted = np.where(open_, taken + left * share / share[open_].sum(), taken)
            full = open_ & (wanted >= sizes)
            taken = np.where(full, sizes, taken) if full.any() else wanted
            open_ &= ~full
            if not full.any():
                break
    whole = np.floor(taken + 1e-9).astype(np.int64)
    rest = np.argsort(-(taken - whole), kind="stable")[: n - int(whole.sum())]
    whole[rest] += 1
    return whole
