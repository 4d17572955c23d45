"""Tables of scores, models by tasks: who is best, which tasks the others make needless, which documents suffice.

A cell that is not a number is a task that the model was not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RIDGE, FEWEST_MODELS, FEWEST_TASKS = 1.0, 5, 3


def places(values: np.ndarray) -> np.ndarray:
    """[n] places from 1 for the greatest; what ties has the mean of its places."""
    _, number, size = np.unique(-np.asarray(values, float), return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    mean: np.ndarray = (last - (size - 1) / 2)[number]
    return mean


def borda(scores: np.ndarray) -> np.ndarray:
    """[models] points: of each task as many as there are models below, half of those that tie."""
    points = np.zeros(len(scores))
    for task in np.asarray(scores, float).T:
        known = np.isfinite(task)
        points[known] += known.sum() - places(task[known])
    return points


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of the places; 0 where either does not vary."""
    x, y = places(a), places(b)
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length else 0.0


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b of two rankings; 0 where either does not vary."""
    first, second = np.triu_indices(len(a), 1)
    x, y = (np.sign(np.asarray(v, float)[first] - np.asarray(v, float)[second]) for v in (a, b))
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length else 0.0


def foretold(scores: np.ndarray, task: int, ridge: float = _RIDGE) -> np.ndarray:
    """[models] the score of each model in a task, by a ridge regression on its scores in the other tasks.

    The regression is fitted on the other models, whose scores give mean and spread too.
    """
    others, out = np.delete(scores, task, axis=1), np.empty(len(scores))
    for m in range(len(scores)):
        rest = np.arange(len(scores)) != m
        x, y = others[rest], scores[rest, task]
        middle, spread = x.mean(axis=0), x.std(axis=0)
        z = (x - middle) / np.where(spread > 0, spread, 1.0)
        own = (others[m] - middle) / np.where(spread > 0, spread, 1.0)
        weight = np.linalg.solve(z @ z.T / z.shape[1] + ridge * np.eye(len(z)) / len(z), y - y.mean())
        out[m] = y.mean() + own @ z.T @ weight / z.shape[1]
    return out


@dataclass(frozen=True)
class Dropped:
    """A task that was taken out, and how well the tasks that were left foretold the ranking in it."""

    task: int
    agreement: float


def shrink(
    scores: np.ndarray, kinds: Sequence[str], *, least: int = FEWEST_TASKS, safe: float = 0.8
) -> tuple[list[int], list[Dropped]]:
    """Take out the task that the others foretell best, again and again, while that is safe.

    How well: Spearman's correlation of scores foretold with `foretold` and scores had. A task that is the last of its
    kind stays.

    Args:
        scores: [models, tasks], all finite, of five models or more.
        kinds: [tasks].
        least: how many tasks are left at least.
        safe: the least correlation at which a task may go.

    Returns:
        The tasks that are left, and those that went, in their order.
    """
    left, went = list(range(scores.shape[1])), []
    while len(left) > max(least, FEWEST_TASKS - 1):
        told = {
            task: spearman(foretold(scores[:, left], place), scores[:, task])
            for place, task in enumerate(left)
            if sum(kinds[other] == kinds[task] for other in left) > 1
        }
        if not told or max(told.values()) < safe:
            break
        best = max(told, key=lambda task: told[task])
        went.append(Dropped(best, told[best]))
        left.remove(best)
    return left, went


def pooled(found: Sequence[np.ndarray], answers: Sequence[Sequence[int]], documents: int) -> np.ndarray:
    """Rows of a small corpus, ascending, of at most `documents`: all answers, then what retrievers put first.

    Places are gone through one by one: first what any retriever puts first for any query, then what is second and so
    on; within a place what more retrievers and queries name goes before.

    Args:
        found: of each retriever [queries, n] rows of documents, the best first.
        answers: rows that answer each query; they are in even where they are more than `documents`.
    """
    kept = {int(row) for rows in answers for row in rows}
    for place in range(max((f.shape[1] for f in found), default=0)):
        named = np.concatenate([f[:, place] for f in found if f.shape[1] > place])
        rows, times = np.unique(named, return_counts=True)
        for row in rows[np.argsort(-times, kind="stable")].tolist():
            if len(kept) >= documents:
                return np.array(sorted(kept), np.int64)
            kept.add(row)
    return np.array(sorted(kept), np.int64)
