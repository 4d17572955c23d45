"""Inverted softmax over a bank of queries."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.banks import Vectors, attraction, bank, distinct
from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.parts import part


@part(
    paper="Smith et al., Offline bilingual word vectors, orthogonal transformations and the inverted softmax, "
    "ICLR 2017",
    place="retrieval",
    traits=("vectors",),
)
class InvertedSoftmax:
    """A hit counts by how much nearer it is to this query than to queries in general.

    Formula, with s the cosine, T the temperature and B a bank of queries:
        score(q, g) = s(q, g) / T - log( (1 / |B|) sum_{b in B} exp(s(b, g) / T) ).
    This is the logarithm of the published quotient; the mean in place of the sum moves all scores by log |B|.

    Use it where a few documents are found for every query. The bank must not hold the queries that are ranked.
    The hits to reorder should be more than are shown: a document that is not among them cannot come back.

    Relations: `dbnorm` divides by a bank of documents as well; `dbnorm-dynamic` leaves queries alone that found no
    hub. With a large T it subtracts the mean cosine to the bank, with a small one the cosine to its nearest query.

    Shapes: fit(queries [b, d], documents); rank(queries [n, d], hits [n, k], vectors). Scores are logarithms.
    """

    def __init__(self, *, temperature: Annotated[float, Field(gt=0, le=100)] = 0.05) -> None:
        self.temperature = temperature

    def fit(
        self, queries: Any, documents: Any = None, *, query_ids: Any = None, ids: Any = None, pairs: Any = None
    ) -> InvertedSoftmax:
        """Keep the bank of queries; nothing else is used. Raises `DataError` for values that are not finite."""
        self.queries_, self.query_ids_ = bank(queries, query_ids, what="queries")
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors) -> Hits:
        """The hits in their new order. Raises `DataError` before `fit` and for vectors of another width."""
        if not hasattr(self, "queries_"):
            raise DataError("inverted-softmax has not been fitted yet: call fit(queries, documents) first")
        ids, z, place = distinct(queries, hits, vectors, self.queries_.shape[1])
        if not len(ids):
            return hits
        drawn = attraction(z, ids, self.queries_, self.query_ids_, self.temperature)
        return Hits.sorted(hits.ids, np.asarray(hits.scores) / self.temperature - drawn[place], calls=hits.calls)
