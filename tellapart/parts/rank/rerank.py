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


@part(paper="(plain baseline of anncur)", place="retrieve", traits=("scorer",))
class Rerank:
    """The first hits of the dual encoder, ordered by an expensive scorer.

    Formula: the `calls` nearest by cosine get score(query, item); all others keep their order below.

    What is best for the scorer but not among those is not found: recall is bounded by that of the dual encoder.

    Shapes: fit(queries [a, d]) learns nothing but d; rank(queries [n, d], hits [n, k], scoring) -> [n, k], at most
    n * `calls` scores. Raises `DataError` where no scoring is given.

    Use it where scorer and cosine mostly agree and the mistakes are among the first hits.

    Relations: `axn` lets the first scores choose what is scored next; `anncur` spends the same calls on what the scorer
    itself says of anchor items; `attention-reranker` looks at vectors alone.
    """

    def __init__(self, *, scorer: str = "maxsim", calls: Annotated[int, Field(ge=1, le=100_000)] = 100) -> None:
        self.scorer, self.calls = scorer, calls

    def fit(
        self,
        queries: Any,
        documents: Any = None,
        *,
        query_ids: Any = None,
        ids: Any = None,
        pairs: Any = None,
        scoring: Scoring | None = None,
    ) -> Rerank:
        """Nothing is learnt; the width of the queries is kept."""
        matrix(queries, what="queries")
        self.dim_ = int(np.shape(queries)[1])
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors, *, scoring: Scoring | None = None) -> Hits:
        """The hits in their new order. `DataError` before `fit`."""
        if not hasattr(self, "dim_"):
            raise DataError("Rerank has not been fitted yet: call fit(queries) first")
        ask = scoring_of(self, scoring)
        if len(matrix(queries, dim=self.dim_, what="queries")) != len(hits):
            raise DataError(f"there are {len(np.asarray(queries))} queries, but hits of {len(hits)}")
        before, scores = ask.calls, hits.scores.copy()
        first = hits.ids[:, : self.calls] != ""
        scores[:, : self.calls][first] = ask(np.nonzero(first)[0], hits.ids[:, : self.calls][first])
        for row in scores[:, :]:
            rest = np.flatnonzero(np.isfinite(row[self.calls :])) + self.calls
            row[rest] = below(row[rest], float(row[: self.calls].min())) if len(rest) else row[rest]
        return Hits.sorted(hits.ids, scores, calls=hits.calls + ask.calls - before)
