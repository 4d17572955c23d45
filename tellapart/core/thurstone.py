"""Scores from comparisons: how good each of several things is, from how likely each is preferred to each other."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tellapart.core.errors import DataError

Link = Literal["normal", "logistic"]
_STEPS, _ENOUGH = 60, 1e-9


def scores_of(wins: np.ndarray, *, link: Link = "normal") -> np.ndarray:
    """[..., m] float64 scores of mean 0, the maximum a posteriori of Thurstone's Case V (or Bradley and Terry's model).

        q = argmax sum_ij wins[i, j] log F(q_i - q_j) - sum_i q_i^2 / 2,    F the normal or the logistic distribution

    The prior of variance 1 holds together what never lost; the maximum is unique, and its mean is 0 by itself. Newton's
    steps, halved while they do not raise the objective, all problems at once. `wins[i, j]` are probabilities of i being
    preferred to j, or counts; 0 both ways says that two were not compared. The diagonal is not looked at.

    Args:
        wins: [..., m, m], 0 or more, finite.

    Raises:
        DataError: another shape, or other numbers.
    """
    given = np.asarray(wins, np.float64)
    m = given.shape[-1] if given.ndim > 1 else 0
    if not m or given.shape[-2] != m or not np.isfinite(given).all() or (given < 0).any():
        raise DataError("wins must be [..., m, m] of numbers of 0 or more: how often each was preferred to each")
    w = np.where(np.eye(m, dtype=bool), 0.0, given).reshape(-1, m, m)
    q, eye = np.zeros((len(w), m)), np.eye(m)
    value = _objective(w, q, link)
    for _ in range(_STEPS):
        first, second = _slopes(q, link)
        down = w * first
        gradient = down.sum(axis=2) - down.sum(axis=1) - q
        bend = w * second
        bend = bend + bend.transpose(0, 2, 1)
        hessian = eye * (bend.sum(axis=2)[:, :, None] - 1) - bend
        step = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        share = np.ones(len(w))
        for _ in range(30):
            tried = _objective(w, q + share[:, None] * step, link)
            worse = tried < value - 1e-12
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        q, value = q + share[:, None] * step, np.maximum(tried, value)
        if np.abs(share[:, None] * step).max() < _ENOUGH:
            break
    return q.reshape(given.shape[:-1])


def _log_f(d: np.ndarray, link: Link) -> np.ndarray:
    if link == "logistic":
        return -np.logaddexp(0, -d)
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr(d))


def _objective(w: np.ndarray, q: np.ndarray, link: Link) -> np.ndarray:
    found: np.ndarray = (w * _log_f(q[:, :, None] - q[:, None], link)).sum(axis=(1, 2)) - (q**2).sum(axis=1) / 2
    return found


def _slopes(q: np.ndarray, link: Link) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of log F at all differences."""
    d = q[:, :, None] - q[:, None]
    if link == "logistic":
        lose = np.exp(_log_f(-d, link))
        return lose, -lose * (1 - lose)
    first = np.exp(-(d**2) / 2 - 0.5 * np.log(2 * np.pi) - _log_f(d, link))
    return first, -first * (d + first)
