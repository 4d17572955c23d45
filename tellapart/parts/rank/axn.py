from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.banks import Vectors
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.hits import Hits
from tellapart.core.parts import part
from tellapart.core.scoring import Scoring, below, scoring_of

# of the sum of squares of a unit vector; the last is no regression on vectors at all
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, np.inf)
# scores that tell anything beside a and b
FEWEST = 4


@part(
    paper="Yadav et al., Adaptive Retrieval and Scalable Indexing for k-NN Search with Cross-Encoders, ICLR 2024 (AXN)",
    place="retrieve",
    traits=("scorer", "vectors"),
)
class Axn:
    """The best hits under an expensive scorer: what it has said of some chooses which it is asked about next.

    Formula, for one query with cosines s [k] and vectors v [k, d] of its hits::

        first:   the `first` * `calls` nearest are scored
        round:   c = a + b s_i + u v_i     fitted to the scores so far, u by ridge regression, a and b freely
                 the best of the others by it are scored; `rounds` rounds share the rest of the calls evenly

    so the query gets a vector b q + u that the scorer itself has taught it. The ridge is that of ten (the last keeps u
    at 0) with the least error of leaving one score out; where the scorer says no more than the cosine, that is the
    order of the cosines, as in `rerank`. Scored items come first, by their scores; the others by the last regression,
    moved below them.

    Taken from the paper: rounds, regression of the scores on fixed vectors of items, its solution beside the query of
    the dual encoder. Ours: vectors are those of the model itself rather than of a factorised matrix of scores, so
    nothing is scored beforehand; a ridge of each round's own choice; only hits are looked among.

    Shapes: fit(queries [a, d]) learns nothing but d; rank(queries [n, d], hits [n, k], vectors, scoring) -> [n, k], at
    most n * `calls` scores. A round costs a decomposition of [calls, calls]. Raises `DataError` before `fit`.

    Use it wherever a scorer is asked about more items than are shown.

    Relations: `rerank` spends all calls on the nearest; `anncur` asks about random anchors, and needs what the scorer
    says of other queries and all items.
    """

    def __init__(
        self,
        *,
        scorer: str = "maxsim",
        calls: Annotated[int, Field(ge=2, le=100_000)] = 100,
        first: Annotated[float, Field(gt=0, le=1)] = 0.5,
        rounds: Annotated[int, Field(ge=1, le=1000)] = 4,
    ) -> None:
        self.scorer, self.calls, self.first, self.rounds = scorer, calls, first, rounds

    def fit(
        self,
        queries: Any,
        documents: Any = None,
        *,
        query_ids: Any = None,
        ids: Any = None,
        pairs: Any = None,
        scoring: Scoring | None = None,
    ) -> Axn:
        """Nothing is learnt; the width of the queries is kept."""
        matrix(queries, what="queries")
        self.dim_ = int(np.shape(queries)[1])
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors, *, scoring: Scoring | None = None) -> Hits:
        """The hits in their new order; see the class. `DataError` before `fit`."""
        if not hasattr(self, "dim_"):
            raise DataError("Axn has not been fitted yet: call fit(queries) first")
        ask = scoring_of(self, scoring)
        if len(matrix(queries, dim=self.dim_, what="queries")) != len(hits):
            raise DataError(f"there are {len(np.asarray(queries))} queries, but hits of {len(hits)}")
        scores, before = hits.scores.copy(), ask.calls
        for row, ids in enumerate(hits.ids):
            there = np.flatnonzero(ids != "")
            if len(there):
                scores[row, there] = self._scored(row, ids[there], hits.scores[row, there], vectors, ask)
        return Hits.sorted(hits.ids, scores, calls=hits.calls + ask.calls - before)

    def _scored(self, row: int, ids: np.ndarray, cosines: np.ndarray, vectors: Vectors, ask: Scoring) -> np.ndarray:
        """[k] the scores of those that are asked about, and below them what is expected of the others."""
        order = np.argsort(-cosines, kind="stable")
        most = min(self.calls, len(ids))
        seen = order[: max(1, min(most, round(self.first * self.calls)))]
        given = ask(np.full(len(seen), row), ids[seen])
        x = np.asarray(matrix(vectors(ids), dim=self.dim_, what="vectors"), np.float64)
        plan = np.diff(np.linspace(len(seen), most, self.rounds + 1).round().astype(int))
        for more in plan[plan > 0].tolist():
            said = _expected(cosines, x, seen, given)
            said[seen] = -np.inf
            asked = np.argsort(-said, kind="stable")[:more]
            seen, given = np.append(seen, asked), np.append(given, ask(np.full(more, row), ids[asked]))
        out: np.ndarray = np.empty(len(ids))
        out[seen] = given
        others = np.setdiff1d(np.arange(len(ids)), seen)
        if len(others):
            out[others] = below(_expected(cosines, x, seen, given)[others], float(given.min()))
        return out


def _expected(cosines: np.ndarray, x: np.ndarray, seen: np.ndarray, given: np.ndarray) -> np.ndarray:
    """[k] scores of all from those seen: a + b cosine + u x by the ridge that leaves one out best.

    With weights W = (x x' + ridge)^-1 of the seen, a and b are those of generalised least squares, and what one left
    out is missed by is (P c)_i / P_ii, P being W less its part that a and b explain.
    """
    if len(seen) < FEWEST:
        return cosines
    free = np.stack([np.ones(len(cosines)), cosines], 1)
    values, basis = np.linalg.eigh(x[seen] @ x[seen].T)
    free_in, given_in = basis.T @ free[seen], basis.T @ given
    least, best = np.inf, (np.zeros(2), np.zeros(len(seen)))
    for ridge in RIDGES:
        weight = 1 / (np.maximum(values, 0) + ridge) if np.isfinite(ridge) else np.ones(len(seen))
        weighed = weight[:, None] * free_in
        inverse = np.linalg.pinv(free_in.T @ weighed)
        coefficients = inverse @ (weighed.T @ given_in)
        explained = basis @ weighed
        left = basis @ (weight * given_in) - explained @ coefficients
        own = basis**2 @ weight - ((explained @ inverse) * explained).sum(1)
        error = float(np.mean((left / np.maximum(own, 1e-12)) ** 2))
        if error < least:
            least, best = error, (coefficients, left if np.isfinite(ridge) else 0 * left)
    return np.asarray(free @ best[0] + x @ (x[seen].T @ best[1]))
