"""Tags told from vectors, and by which company each of them is told."""

from __future__ import annotations

import numpy as np

from tellapart.core.crossfit import folds_of
from tellapart.core.linear import ridge_map

_FOLDS, _RIDGE, _FLOOR, _FEWEST = 5, 1.0, 0.001, 5


def told(x: np.ndarray, has: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[n, tags] scores by a ridge regression that was fitted on the other folds."""
    fold, score = folds_of(np.arange(len(x)), _FOLDS, rng), np.empty(has.shape)
    for f in range(_FOLDS):
        score[fold == f] = ridge_map(x[fold != f], has[fold != f].astype(float), _RIDGE)(x[fold == f])
    return score.clip(_FLOOR, 1)


def biased(score: np.ndarray, has: np.ndarray, most: int, together: float) -> list[tuple[int, int]]:
    """The most biased pairs, of each b one, the most biased first.

    c stands with b in more than the share `together` of its items, in five of them, and five have b without c; and it
    stands with b more often than with all items, by two standard errors, or the ratio would be one of chance.
    """
    found, usual = [], has.mean(axis=0)
    for b in range(has.shape[1]):
        mine = has[:, b]
        both = has[mine].sum(axis=0)
        fit = (both > together * mine.sum()) & (both >= _FEWEST) & (mine.sum() - both >= _FEWEST)
        fit &= both - mine.sum() * usual > 2 * np.sqrt(mine.sum() * usual * (1 - usual))
        by = {c: bias(score, has, b, c) for c in np.flatnonzero(fit).tolist() if c != b}
        if by:
            c = max(by, key=lambda c: by[c])
            found.append((by[c], b, c))
    return [(b, c) for value, b, c in sorted(found, key=lambda one: (-one[0], one[1]))[:most] if value > 1]


def bias(score: np.ndarray, has: np.ndarray, b: int, c: int) -> float:
    """The mean score of b with c over that without c."""
    both, alone = has[:, b] & has[:, c], has[:, b] & ~has[:, c]
    return float(score[both, b].mean() / score[alone, b].mean())


def precision(score: np.ndarray, wanted: np.ndarray, times: np.ndarray | None = None) -> float:
    """Average precision; of equal scores the later row comes last. `times` is how often each row counts."""
    order = np.argsort(-score, kind="stable")
    weight = (np.ones(len(score)) if times is None else times)[order]
    hit = wanted[order] * weight
    total = hit.sum()
    if not total:
        return float("nan")
    return float((hit * np.cumsum(hit) / np.maximum(np.cumsum(weight), 1e-12)).sum() / total)
