from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.banks import Vectors
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import matrix
from tellapart.core.hits import Hits
from tellapart.core.parts import part
from tellapart.core.scoring import Scoring, below, scoring_of

ITEMS_A_BLOCK = 256


@part(
    paper="Yadav et al., Efficient Nearest Neighbor Search for Cross-Encoder Models using Matrix Factorization, "
    "EMNLP 2022 (ANNCUR)",
    place="retrieve",
    system="anncur",
    traits=("scorer", "everything"),
)
class Anncur:
    """The best items under an expensive scorer, from a few of its scores: k-NN search by CUR factorisation.

    Formula, with R [q, N] the scores of anchor queries with all items, A the places of `anchors` random items::

        fit:   E = pinv(R[:, A]) R                                   [anchors, N], kept
        rank:  c = scores of the query with the anchor items         `anchors` calls
               s = c E                                               all N scores, approximately
               the best `calls` - `anchors` others by s are scored exactly; so are the anchors already

    The pseudo-inverse leaves out singular values below `cutoff` times the largest. Items that are scored come first, by
    their exact scores; then all others by s, moved below them. The hits given are not asked where to look: items come
    in that were not among them (trait `everything`), but only such as the query may find. Hits that came into being
    after `fit` have no column in R: they are scored first, nearest first, out of the same calls. Where there are no
    more items than calls, all are scored.

    Taken from the paper and its code: anchors uniformly at random, R from training queries, the plain pseudo-inverse.
    The relative cut-off is ours; the code has numpy's, which noise passes through. Anchors that come out best are not
    paid for twice (their code counts none of this).

    Shapes: fit(queries [a, d], documents ignored, ids [N], scoring); rank(queries [n, d], hits [n, k], scoring) ->
    [n, k]. Memory: 4 * anchors * N bytes. Fitting takes `anchor_queries` * N scores: a day for a cross-encoder and a
    million items. Raises `DataError` where there are no items or queries, `PartError` where `calls` <= `anchors`.

    Use it where the scorer disagrees with the dual encoder, so that what is best for it is not among the first hits,
    and where few directions make up its scores. Of halves of digits 10 directions hold 99% of the scores of 200 queries
    (centred, squared, one seed), and 50 anchors tell them; of a perceptron trained to find what a noun is a kind of
    among 5,000 glosses it is 127, so that even the 50 best directions find 0.81 of the best ten in 50 calls, where
    the dual encoder trained on the same pairs finds 0.92. There, at 100 calls, it is far behind `rerank`, as it is
    under MaxSim, whose order is nearly that of the mean vectors.

    Relations: `rerank` spends the same calls on the first hits by cosine; `axn` chooses among the hits by the scores so
    far, and needs none beforehand.
    """

    def __init__(
        self,
        *,
        scorer: str = "maxsim",
        calls: Annotated[int, Field(ge=2, le=100_000)] = 100,
        anchors: Annotated[int, Field(ge=1, le=100_000)] = 50,
        anchor_queries: Annotated[int, Field(ge=1, le=100_000)] = 200,
        cutoff: Annotated[float, Field(ge=0, lt=1)] = 0.01,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.scorer, self.calls, self.anchors, self.anchor_queries = scorer, calls, anchors, anchor_queries
        self.cutoff, self.seed = cutoff, seed

    def fit(
        self,
        queries: Any,
        documents: Any = None,
        *,
        query_ids: Any = None,
        ids: Any = None,
        pairs: Any = None,
        scoring: Scoring | None = None,
    ) -> Anncur:
        """Score anchor queries with all items, and keep what all scores are made of."""
        if self.calls <= self.anchors:
            raise PartError(f"anncur: calls={self.calls} leaves none beside anchors={self.anchors}: give more calls")
        ask = scoring_of(self, scoring)
        asked, names = len(matrix(queries, what="queries")), np.asarray([] if ids is None else ids, dtype=str)
        if not len(names):
            raise DataError("anncur is fitted on the items that are searched: give their ids")
        rng = np.random.default_rng(self.seed)
        rows = np.sort(rng.choice(asked, min(self.anchor_queries, asked), replace=False))
        kept = np.sort(rng.choice(len(names), min(self.anchors, len(names)), replace=False))
        scores = np.empty((len(rows), len(names)))
        for start in range(0, len(names), ITEMS_A_BLOCK):
            block = names[start : start + ITEMS_A_BLOCK]
            found = ask(np.repeat(rows, len(block)), np.tile(block, len(rows)))
            scores[:, start : start + len(block)] = found.reshape(len(rows), len(block))
        self.ids_, self.anchors_, self.dim_ = names, kept, int(np.shape(queries)[1])
        self.embeddings_ = (np.linalg.pinv(scores[:, kept], rcond=self.cutoff) @ scores).astype(np.float32)
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors, *, scoring: Scoring | None = None) -> Hits:
        """The best of all items, exactly scored ones first; see the class. `DataError` before `fit`."""
        if not hasattr(self, "ids_"):
            raise DataError("Anncur has not been fitted yet: call fit(queries, ids=..., scoring=...) first")
        ask = scoring_of(self, scoring)
        if len(matrix(queries, dim=self.dim_, what="queries")) != len(hits):
            raise DataError(f"there are {len(np.asarray(queries))} queries, but hits of {len(hits)}")
        ids, before = np.full_like(hits.ids, "", dtype=object), ask.calls
        scores = np.full(hits.scores.shape, -np.inf, np.float32)
        for row in np.flatnonzero((hits.ids != "").any(1)).tolist():
            best = self._best(row, hits, ask)
            ids[row, : best.ids.shape[1]], scores[row, : best.ids.shape[1]] = best.ids[0], best.scores[0]
        return Hits.sorted(ids.astype(str), scores, calls=hits.calls + ask.calls - before)

    def _best(self, row: int, hits: Hits, ask: Scoring) -> Hits:
        found = hits.ids[row][hits.ids[row] != ""]
        later = ~np.isin(found, self.ids_)
        new, near = found[later], hits.scores[row][: len(found)][later]
        there = np.flatnonzero(ask.there(row, self.ids_))
        if len(there) + len(new) <= self.calls:
            names = np.concatenate([self.ids_[there], new])
            return Hits.sorted(names[None], ask(np.full(len(names), row), names)[None], hits.ids.shape[1])
        c = ask(np.full(len(self.anchors_), row), self.ids_[self.anchors_])
        s = c @ self.embeddings_
        others = there[~np.isin(there, self.anchors_)]
        others = others[np.argsort(-s[others], kind="stable")]
        left = self.calls - len(c)
        first = new[np.argsort(-near, kind="stable")][:left]
        looked = np.concatenate([first, self.ids_[others[: left - len(first)]]])
        exact = ask(np.full(len(looked), row), looked)
        own = np.isin(self.anchors_, there)
        names, scores = np.concatenate([self.ids_[self.anchors_[own]], looked]), np.concatenate([c[own], exact])
        rest = others[left - len(first) :]
        beyond = below(s[rest], float(scores.min()))
        return Hits.sorted(
            np.concatenate([names, self.ids_[rest]])[None], np.concatenate([scores, beyond])[None], hits.ids.shape[1]
        )
