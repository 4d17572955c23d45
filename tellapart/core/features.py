"""Feature matrices with labels, checked in words, and the class statistics that several parts share. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import DataError


def matrix(x: Any, *, dim: int | None = None, what: str = "x") -> np.ndarray:
    """A float64 [n, d] matrix, refused in words when it is empty, not finite, or not `dim` wide."""
    try:
        x = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be a matrix of numbers: {error}") from None
    if x.ndim != 2 or x.size == 0:
        raise DataError(f"{what} must be a matrix [items, numbers] that is not empty; its shape is {x.shape}")
    if dim is not None and x.shape[1] != dim:
        raise DataError(
            f"{what} has {x.shape[1]} numbers an item, but {dim} were fitted: embed it with the same encoder"
        )
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise DataError(
            f"{what} has values that are not finite in {int(bad.sum())} items; first is row {int(bad.argmax())}"
        )
    return x


def labels(y: Any, n: int, *, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(sorted distinct labels, [n] int64 codes into them); refused when missing, of another length, or too few."""
    values = y.tolist() if isinstance(y, np.ndarray) else list(y)
    missing = [v is None or v != v for v in values]
    if any(missing):
        raise DataError(f"{sum(missing)} items have no label; first is row {missing.index(True)}: leave them out")
    if len({isinstance(v, str) for v in values}) > 1:
        raise DataError("labels must be all words or all numbers, not a mixture")
    y = np.asarray(values)
    if y.ndim != 1 or len(y) != n:
        raise DataError(f"one label an item is needed: {n} items, labels of shape {y.shape}")
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < least:
        raise DataError(f"at least {least} classes are needed to tell them apart; the labels hold {len(classes)}")
    return classes, codes.astype(np.int64)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """[n, classes] float32 probabilities; rows sum to 1."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


class ClassMoments:
    """Means of the classes and the scatter about them, updated exactly as items and classes arrive.

    Attributes:
        classes: [c] sorted labels; counts: [c]; means: [c, d].
        scatter: sum over all items of (x - mean of its class)(x - mean of its class)^T, [d, d]; only its trace, as a
            0-d array, where `full` is false.
    """

    def __init__(self, *, full: bool = True) -> None:
        self.full = full
        self.classes: np.ndarray | None = None
        self.counts = np.zeros(0)
        self.means = np.zeros((0, 0))
        self.scatter = np.zeros(())

    @property
    def n(self) -> int:
        """Items seen."""
        return int(self.counts.sum())

    def add(self, x: np.ndarray, classes: np.ndarray, codes: np.ndarray) -> None:
        """Take in items [n, d] whose labels are `classes[codes]` (both as `labels` gives them).

        Two groups of n and m items with means a and b have the joint scatter S + T + n m / (n + m) (a - b)(a - b)^T.
        """
        if self.classes is None:
            self.classes, self.means = classes[:0], np.zeros((0, x.shape[1]))
            self.scatter = np.zeros((x.shape[1],) * 2) if self.full else np.zeros(())
        if len(self.classes) and self.classes.dtype.kind in "US" and classes.dtype.kind not in "US":
            raise DataError("new labels must be words, as the fitted ones are")
        if len(self.classes) and self.classes.dtype.kind not in "US" and classes.dtype.kind in "US":
            raise DataError("new labels must be numbers, as the fitted ones are")
        both = np.union1d(self.classes, classes)
        counts, means = np.zeros(len(both)), np.zeros((len(both), x.shape[1]))
        old, new = np.searchsorted(both, self.classes), np.searchsorted(both, classes)
        counts[old], means[old] = self.counts, self.means
        m = np.bincount(codes, minlength=len(classes)).astype(np.float64)
        fresh = np.zeros((len(classes), x.shape[1]))
        np.add.at(fresh, codes, x)
        fresh /= np.maximum(m, 1.0)[:, None]
        gap = fresh - means[new]
        share = counts[new] * m / np.maximum(counts[new] + m, 1.0)
        within = x - fresh[codes]
        self.scatter = self.scatter + self._square(within) + self._square(gap * np.sqrt(share)[:, None])
        means[new] += gap * (m / np.maximum(counts[new] + m, 1.0))[:, None]
        counts[new] += m
        self.classes, self.counts, self.means = both, counts, means

    def _square(self, rows: np.ndarray) -> np.ndarray:
        return rows.T @ rows if self.full else np.asarray((rows**2).sum())
