"""The plain regression on grades beside the grades of the nearest items.

Pictures of known quality as in `graded`; figures are rank correlations (Spearman) with the grade, of pictures that are
none of those that are fitted on. The baseline is the mean grade of the `k` nearest graded items by cosine, `k` of
1, 3, 10 and 30 chosen on validation pictures, which the regression does not use: it chooses its strength by itself.
Metrics: `SRCC, few grades` and `SRCC, many grades`.

Options (`[options]` of the spec): few (40) and many (400), how many pictures are graded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.protocol.graded import HELD, damaged, srcc

NEAREST = (1, 3, 10, 30)


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    x, y, _ = damaged(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 22]))
    test, validation, train = np.split(rng.permutation(len(x)), [HELD, 2 * HELD])
    found = {}
    for name, usual in (("few", 40), ("many", 400)):
        some = train[: spec["options"].get(name, usual)]
        k = max(NEAREST, key=lambda k: srcc(nearest(x[some], y[some], x[validation], k), y[validation]))
        said = make("score", spec["part"]).fit(x[some], y[some]).score(x[test])
        found[f"SRCC, {name} grades"] = srcc(nearest(x[some], y[some], x[test], k), y[test]), srcc(said, y[test])
    return found


def nearest(x: np.ndarray, y: np.ndarray, asked: np.ndarray, k: int) -> np.ndarray:
    """[m] mean grade of the k items nearest by cosine."""
    near = np.argsort(-unit_rows(asked) @ unit_rows(x).T, axis=1, kind="stable")[:, :k]
    found: np.ndarray = y[near].mean(axis=1)
    return found
