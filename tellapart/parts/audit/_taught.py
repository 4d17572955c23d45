"""A classifier taught where two cues agree and asked where they do not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tellapart.core.cues import Cue
from tellapart.core.parts import make
from tellapart.core.redraw import Z

Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
LEAST, _MOST, _RIDGE = 12, 100, 0.1


def before(z: np.ndarray, a: Cue, b: Cue, fit: Fit, rng: np.random.Generator) -> tuple[float, float, int] | None:
    """(share of answers by a, half its interval, answers); None where a cell has too few items."""
    first, second = (np.argsort(-np.bincount(c.codes[c.codes >= 0]), kind="stable")[:2] for c in (a, b))
    if min(len(first), len(second)) < 2:
        return None
    cells = [[np.flatnonzero((a.codes == p) & (b.codes == q)) for q in second] for p in first]
    if min(len(cell) for row in cells for cell in row) < LEAST:
        return None
    cells = [[rng.permutation(cell)[:_MOST] for cell in row] for row in cells]
    shares, spread, count = [], 0.0, 0
    for swap in (0, 1):
        zero, one = cells[0][swap], cells[1][1 - swap]
        size = min(len(zero), len(one))
        taught = np.concatenate([zero[:size], one[:size]])
        answer = fit(z[taught], np.repeat([0, 1], size))
        for value, asked in enumerate((cells[0][1 - swap], cells[1][swap])):
            hits = float((answer(z[asked]) == value).sum())
            moved = (hits + 0.5) / (len(asked) + 1)
            shares.append(hits / len(asked))
            spread += moved * (1 - moved) / len(asked) / 16
            count += len(asked)
    return float(np.mean(shares)), Z * math.sqrt(spread), count


def fitter(spec: str) -> Fit:
    """What fits a classifier by spec, or a ridge regression onto the classes where there is none."""

    def ridge(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        middle, wanted = x.mean(axis=0), np.eye(int(y.max()) + 1)[y]
        inner = (x - middle) @ (x - middle).T
        weight = np.linalg.solve(inner + (_RIDGE * np.trace(inner) / len(x) + 1e-12) * np.eye(len(x)), wanted)
        return lambda rows: ((rows - middle) @ (x - middle).T @ weight).argmax(axis=1)

    def named(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        fitted = make("classify", spec).fit(x, y)
        return lambda rows: fitted.classes_[fitted.predict_proba(rows).argmax(axis=1)]

    return named if spec else ridge
