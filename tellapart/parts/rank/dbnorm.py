"""Dual inverted softmax: hubs divided out by a bank of queries and a bank of documents."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.banks import Vectors, attraction, bank, distinct
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.hits import Hits
from tellapart.core.parts import part


@part(
    paper="Wang, Jian & Xue, Balance Act: Mitigating Hubness in Cross-Modal Retrieval with Query and Gallery Banks, "
    "EMNLP 2023",
    place="retrieval",
    system="dbnorm",
    traits=("vectors",),
    aliases=("dual-inverted-softmax",),
)
class Dbnorm:
    """A hit counts by how much nearer it is to this query than to queries and to documents in general.

    Formula, with s the cosine, Q a bank of queries, G a bank of documents and T1, T2 the two temperatures:
        score(q, g) = s(q, g) / T1 - log mean_{b in Q} exp(s(b, g) / T1)
                    + s(q, g) / T2 - log mean_{b in G} exp(s(b, g) / T2).
    This is the logarithm of the published product of two quotients (means for sums, which moves all scores alike).
    It follows the formula of the paper; the function released with it puts the bank of documents where the tested
    scores belong. Their 1 / T1 and 1 / T2 are 1/1.99 and 3 in the released code, for raw cosines of large models;
    both want choosing on validation data. A document in the bank is left out of its own mean.

    Use it where a few documents are found for every query, by words or by picture. The bank of queries must not hold
    those that are ranked. The hits to reorder should be more than are shown.

    Relations: `inverted-softmax` is the first line alone; `dbnorm-dynamic` applies each line only to queries whose
    first hit is a hub.

    Shapes: fit(queries [a, d], documents [b, d]); rank(queries [n, d], hits [n, k], vectors). Scores are logarithms.
    """

    def __init__(
        self,
        *,
        query_temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        document_temperature: Annotated[float, Field(gt=0, le=100)] = 0.33,
    ) -> None:
        self.query_temperature = query_temperature
        self.document_temperature = document_temperature

    def fit(self, queries: Any, documents: Any, *, query_ids: Any = None, ids: Any = None, pairs: Any = None) -> Dbnorm:
        """Keep both banks. Raises `DataError` for values that are not finite or banks of unequal width."""
        self.queries_, self.query_ids_ = bank(queries, query_ids, what="queries")
        self.documents_, self.ids_ = bank(documents, ids, what="documents")
        matrix(self.documents_, dim=self.queries_.shape[1], what="documents")
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors) -> Hits:
        """The hits in their new order. Raises `DataError` before `fit` and for vectors of another width."""
        if not hasattr(self, "queries_"):
            raise DataError("dbnorm has not been fitted yet: call fit(queries, documents) first")
        ids, z, place = distinct(queries, hits, vectors, self.queries_.shape[1])
        if not len(ids):
            return hits
        drawn = attraction(z, ids, self.queries_, self.query_ids_, self.query_temperature)
        drawn += attraction(z, ids, self.documents_, self.ids_, self.document_temperature)
        sharp = 1.0 / self.query_temperature + 1.0 / self.document_temperature
        return Hits.sorted(hits.ids, np.asarray(hits.scores) * sharp - drawn[place], calls=hits.calls)
