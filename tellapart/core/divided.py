"""Items divided into clean and wrong: by the size of their losses, and by a line through their features.

What is labelled or paired wrongly is learnt late, so that early in training its loss is larger.
"""

from __future__ import annotations

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows

_SMALLEST = 5e-4
_STEPS, _CLOSE = 200, 1e-6
_FEWEST = 2


def clean_probability(losses: np.ndarray) -> np.ndarray:
    """[n] float64: how likely each item belongs to the half of small losses.

    Formula: x = (loss - min) / (max - min); p(x) = w_0 N(x; m_0, v_0) + w_1 N(x; m_1, v_1) with m_0 <= m_1, fitted by
    expectation-maximisation from the two groups of `2-means`, with 5e-4 added to the variances;
    found = w_0 N(x; m_0, v_0) / p(x). Losses that are all equal say nothing: every item is 1, clean.

    A wide component has more density than a narrow one on both of its sides. So the probability is made never to rise
    with the loss: below m_0 it does not fall, above m_1 it does not rise again.

    Args:
        losses: [n], one for each item.

    Raises:
        DataError: losses that are not one number for each item, or not finite, or none at all.
    """
    x = np.asarray(losses, np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise DataError("losses are divided where there is one finite number for each item")
    spread = x.max() - x.min()
    if not spread > 0:
        return np.ones(len(x))
    x = (x - x.min()) / spread
    share = np.stack([~_upper(x), _upper(x)], axis=1).astype(np.float64)
    last = -np.inf
    for _ in range(_STEPS):
        weight, mean, variance = _fitted(x, share)
        joint = np.log(weight) - 0.5 * (np.log(2 * np.pi * variance) + (x[:, None] - mean) ** 2 / variance)
        total = np.logaddexp(joint[:, 0], joint[:, 1])
        share = np.exp(joint - total[:, None])
        if total.mean() - last < _CLOSE:
            break
        last = total.mean()
    low = int(mean[1] < mean[0])
    return _falling(share[:, low], x, mean[low], mean[1 - low])


def principal(x: np.ndarray, dim: int) -> np.ndarray:
    """[n, at most dim] features of unit length, standardised, then along their principal directions with variance 1."""
    z = unit_rows(x)
    z = z - z.mean(axis=0)
    deviation = z.std(axis=0)
    if not deviation.max() > 1e-12:
        raise DataError("all items are equal: there is nothing to tell them apart by")
    u, s, _ = np.linalg.svd(z / np.maximum(deviation, 1e-6 * deviation.max()), full_matrices=False)
    found: np.ndarray = u[:, : min(dim, int((s > 1e-6 * s[0]).sum()))] * np.sqrt(len(x))
    return found


def separated(x: np.ndarray, clean: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """[n] float64: how likely each item is clean, by a linear separation of the others' clean items from the rest.

    Formula: t minimises |w|^2 / 2 - sum_i b_i log p(clean_i), p(1) = sigmoid(w x + c), over the items of other folds;
    b_i = n / 2 over the number of items that are as clean_i, so that both sides count equally. Where a side has fewer
    than two items there, there is nothing to separate, and the fold is clean.

    Args:
        x: [n, d] standardised features; clean: [n] bool; fold: [n] fold numbers.
    """
    found = np.ones(len(x))
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    for f in np.unique(fold):
        own, rest = fold == f, fold != f
        sides = int(clean[rest].sum()), int((~clean[rest]).sum())
        if min(sides) >= _FEWEST:
            found[own] = _sigmoid(wide[own] @ _balanced(wide[rest], clean[rest]))
    return found


def _balanced(x: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression by Newton's steps; the last column is the constant and not penalised."""
    weight = len(x) / 2 / np.where(clean, clean.sum(), (~clean).sum())
    penalty = np.eye(x.shape[1])
    penalty[-1, -1] = 1e-9
    t = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = _sigmoid(x @ t)
        bend = (x * (weight * p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(bend, x.T @ (weight * (p - clean)) + penalty @ t)
        t -= step
        if np.abs(step).max() < 1e-9:
            break
    return t


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    return found


def _upper(x: np.ndarray) -> np.ndarray:
    """[n] which values are nearer the larger of two centres that are the means of what is nearest to them."""
    cut = 0.5
    for _ in range(_STEPS):
        upper = x > cut
        moved = (x[upper].mean() + x[~upper].mean()) / 2
        if moved == cut:
            break
        cut = moved
    found: np.ndarray = x > cut
    return found


def _fitted(x: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances of the two, from the share that each has in each item."""
    size = share.sum(axis=0) + 1e-12
    mean = share.T @ x / size
    variance = (share * (x[:, None] - mean) ** 2).sum(axis=0) / size + _SMALLEST
    return size / len(x), mean, variance


def _falling(clean: np.ndarray, x: np.ndarray, low: float, high: float) -> np.ndarray:
    """The probabilities, made never to rise with x outside of the two means."""
    order = np.argsort(x, kind="stable")
    value, place = clean[order], x[order]
    below, above = place <= low, place >= high
    value[below] = np.maximum.accumulate(value[below][::-1])[::-1]
    value[above] = np.minimum.accumulate(value[above])
    found = np.empty(len(x))
    found[order] = value
    return found
