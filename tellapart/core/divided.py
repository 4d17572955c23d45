"""Losses divided into small and large ones by a mixture of two normal distributions, to tell clean items from wrong.

What is labelled or paired wrongly is learnt late, so that early in training its loss is larger.
"""

from __future__ import annotations

import numpy as np

from tellapart.core.errors import DataError

_SMALLEST = 5e-4
_STEPS, _CLOSE = 200, 1e-6


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
