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
from tellapart.parts.rank._denoiser import _hardest


@part(
    paper="Song et al., Uni-Encoder: A Fast and Accurate Response Selection Paradigm for Generation-Based Dialogue "
    "Systems, Findings of ACL 2023",
    place="retrieve",
    system="uni-encoder",
    traits=("scorer", "reads", "pairs"),
    needs=("torch",),
)
class UniEncoder:
    """A query and all its candidates read in one pass: each pair attends in full, the query is read once.

    Formula, with the tokens of the query c and of the candidates r_1 .. r_n in one row, of `layers` layers of MiniLM::

        position of a token of r_j = |c| + its place in r_j        all start at the same offset
        mask(a, b) = 1 where a or b is of c, or both are of the same r_j             an arrow
        score_j = w . mean of the last states of r_j + b
        fit:  cross entropy of the scores on the right one among the `candidates` - 1 hardest wrong ones

    Work is |c| + sum |r_j| tokens instead of n |c| + sum |r_j|. Candidates do not see each other, but the query sees
    all of them, so from the second layer on a score knows which others there are; their order does not matter.

    What was unverified was read in the authors' code: the query attends to all candidates, positions go on after it,
    candidates have segment 1, the mean over a candidate's tokens is mapped to a number. Their second loss, of masked
    words, is left out. Texts alone; query and each candidate are cut after `max_tokens`.

    Shapes: fit(queries [a, d], documents [b, d], pairs [p, 2], scoring); rank(queries [n, d], hits [n, k], scoring) ->
    [n, k]: the best `candidates` anew, the others below, as they were. `calls` counts candidates, not passes. Raises
    `DataError` for fewer than 10 pairs. Needs torch, when ranking too.

    Use it where queries are long and candidates few, and there are thousands of pairs.

    Relations: `rerank(scorer='cross-encoder:...')` reads the query again with each candidate; `attention-reranker`
    looks at vectors.
    """

    def __init__(
        self,
        *,
        candidates: Annotated[int, Field(ge=2, le=100)] = 10,
        layers: Annotated[int, Field(ge=1, le=6)] = 2,
        max_tokens: Annotated[int, Field(ge=8, le=256)] = 64,
        epochs: Annotated[int, Field(ge=1, le=1000)] = 1,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.0003,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.candidates, self.layers, self.max_tokens = candidates, layers, max_tokens
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed

    def fit(
        self,
        queries: Any,
        documents: Any,
        *,
        query_ids: Any = None,
        ids: Any = None,
        pairs: Any = None,
        scoring: Scoring | None = None,
    ) -> UniEncoder:
        """Train the layers on pairs [p, 2] of rows that belong together."""
        from tellapart.parts.rank._arrow import Arrow, flat, train

        ask = scoring_of(self, scoring)
        names = np.asarray([] if ids is None else ids, dtype=str)
        z, keys, right, wrong = _hardest(queries, documents, query_ids, ids, pairs, self.candidates - 1)
        if len(names) != len(keys):
            raise DataError("UniEncoder reads the documents themselves: give their ids")
        asked, among = [], []
        for (query, own), others in zip(right.tolist(), wrong.tolist(), strict=True):
            chosen = names[[own, *(other for other in others if other >= 0)]]
            texts = ask.items(np.full(len(chosen), query), chosen)
            asked.append(texts[0][0])
            among.append(texts[1])
        net = Arrow(self.layers, self.max_tokens, self.seed)
        train(net, asked, among, self.epochs, self.learning_rate, self.seed)
        self.weights_, self.dim_, self._net = flat(net), int(z.shape[1]), net
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors, *, scoring: Scoring | None = None) -> Hits:
        """The hits in their new order; see the class. `DataError` before `fit`."""
        if not hasattr(self, "weights_"):
            raise DataError("UniEncoder has not been fitted yet: call fit(queries, documents, pairs=..., scoring=...)")
        import torch

        from tellapart.parts.rank._arrow import Arrow, filled

        ask, before = scoring_of(self, scoring), scoring.calls if scoring else 0
        if len(matrix(queries, dim=self.dim_, what="queries")) != len(hits):
            raise DataError(f"there are {len(np.asarray(queries))} queries, but hits of {len(hits)}")
        if getattr(self, "_net", None) is None:
            self._net = filled(Arrow(self.layers, self.max_tokens, self.seed), self.weights_)
        scores = hits.scores.copy()
        for row in range(len(hits)):
            first = np.flatnonzero(hits.ids[row, : self.candidates] != "")
            if not len(first):
                continue
            asked, among = ask.items(np.full(len(first), row), hits.ids[row, first])
            with torch.no_grad():
                pieces = self._net.pieces([asked[0], *among])
                scores[row, first] = self._net(pieces[0], pieces[1:]).numpy()
            ask.count(len(first))
            rest = np.flatnonzero(hits.ids[row, self.candidates :] != "") + self.candidates
            scores[row, rest] = below(hits.scores[row, rest], float(scores[row, first].min()))
        return Hits.sorted(hits.ids, scores, calls=hits.calls + ask.calls - before)
