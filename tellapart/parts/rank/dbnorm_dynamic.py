"""Dual dynamic inverted softmax: hubs divided out only for the queries that found one."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.banks import ENTRIES, Vectors, attraction, bank, distinct, pairs_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.hits import Hits
from tellapart.core.parts import part

_ROUNDING = 1e-6


@part(
    paper="Wang, Jian & Xue, Balance Act: Mitigating Hubness in Cross-Modal Retrieval with Query and Gallery Banks, "
    "EMNLP 2023",
    place="retrieval",
    system="dbnorm",
    traits=("vectors",),
    aliases=("dual-dynamic-inverted-softmax",),
)
class DbnormDynamic:
    """`dbnorm`, each of its two normalisations only for queries whose first hit is a hub of that bank.

    Formula, with the words of `dbnorm`, and top(q) the best hit of q:
        score(q, g) = s(q, g) / T1 - [top(q) in H_Q] log mean_{b in Q} exp(s(b, g) / T1)
                    + s(q, g) / T2 - [top(q) in H_G] log mean_{b in G} exp(s(b, g) / T2).
        H_Q: documents among the k nearest of some b in Q; H_G: among the k nearest of some b in G.
    The nearest are counted among `documents`, so those should be all that is searched, or a fair sample of it; a
    document relevant to b (`pairs`), and b itself, do not count. A normalisation that does not apply leaves its
    numerator; the released code leaves the plain cosine there, which gives the same order when neither applies.

    Use it where most queries are well served and must not be disturbed.

    Relations: `dbnorm` always normalises; with the query bank alone this is the dynamic inverted softmax of Bogolin et
    al., Cross Modal Retrieval with Querybank Normalisation, CVPR 2022.

    Shapes: as `dbnorm`; pairs [p, 2] int: rows of queries and documents that belong together. Give ids, so
    that a document is known again among the hits.
    """

    def __init__(
        self,
        *,
        query_temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        document_temperature: Annotated[float, Field(gt=0, le=100)] = 0.33,
        k: Annotated[int, Field(ge=1, le=1000)] = 1,
    ) -> None:
        self.query_temperature = query_temperature
        self.document_temperature = document_temperature
        self.k = k

    def fit(
        self, queries: Any, documents: Any, *, query_ids: Any = None, ids: Any = None, pairs: Any = None
    ) -> DbnormDynamic:
        """Keep both banks and how near a document must come to each member to be its hub.

        Raises `DataError` for values that are not finite, banks of unequal width, or not more than k documents.
        """
        self.queries_, self.query_ids_ = bank(queries, query_ids, what="queries")
        self.documents_, self.ids_ = bank(documents, ids, what="documents")
        matrix(self.documents_, dim=self.queries_.shape[1], what="documents")
        if len(self.documents_) <= self.k:
            raise DataError(f"more than {self.k} documents are needed to find hubs, not {len(self.documents_)}")
        self.pairs_ = pairs_of(pairs, len(self.queries_), len(self.documents_))
        itself = np.repeat(np.arange(len(self.documents_))[:, None], 2, axis=1)
        self.query_reach_ = self._reach(self.queries_, self.query_ids_, self.pairs_)
        self.document_reach_ = self._reach(self.documents_, self.ids_, itself)
        return self

    def _reach(self, members: np.ndarray, names: np.ndarray, own: np.ndarray) -> np.ndarray:
        """[b] cosine of the k-th nearest document of each member; infinite where fewer than k are left."""
        reach = np.empty(len(members), dtype=np.float32)
        step = max(1, ENTRIES // len(self.documents_))
        for start in range(0, len(members), step):
            rows = slice(start, start + step)
            scores = members[rows] @ self.documents_.T
            scores[(names[rows, None] == self.ids_) & (self.ids_ != "")] = -np.inf
            here = own[(own[:, 0] >= start) & (own[:, 0] < start + step)]
            scores[here[:, 0] - start, here[:, 1]] = -np.inf
            kth = np.partition(scores, -self.k, axis=1)[:, -self.k]
            reach[rows] = np.where(np.isfinite(kth), kth, np.inf)
        return reach

    def _hubs(self, z: np.ndarray, ids: np.ndarray, by_queries: bool) -> np.ndarray:
        """[u] whether an item comes within the reach of a member other than itself and its own queries."""
        members, names, reach = (
            (self.queries_, self.query_ids_, self.query_reach_)
            if by_queries
            else (self.documents_, self.ids_, self.document_reach_)
        )
        own = self.pairs_ if by_queries else self.pairs_[:0]
        place = np.searchsorted(ids, self.ids_[own[:, 1]]).clip(max=len(ids) - 1)
        known = ids[place] == self.ids_[own[:, 1]]
        place, member = place[known], own[known, 0]
        hub = np.zeros(len(z), dtype=bool)
        step = max(1, ENTRIES // len(members))
        for start in range(0, len(z), step):
            rows = slice(start, start + step)
            near = (z[rows] @ members.T >= reach - _ROUNDING) & ~((ids[rows, None] == names) & (names != ""))
            here = (place >= start) & (place < start + step)
            near[place[here] - start, member[here]] = False
            hub[rows] = near.any(axis=1)
        return hub

    def rank(self, queries: Any, hits: Hits, vectors: Vectors) -> Hits:
        """The hits in their new order. Raises `DataError` before `fit` and for vectors of another width."""
        if not hasattr(self, "queries_"):
            raise DataError("dbnorm-dynamic has not been fitted yet: call fit(queries, documents) first")
        ids, z, place = distinct(queries, hits, vectors, self.queries_.shape[1])
        if not len(ids):
            return hits
        out = np.asarray(hits.scores, dtype=np.float64)
        out = out * (1.0 / self.query_temperature + 1.0 / self.document_temperature)
        first = np.unique(place[:, 0])
        for members, names, temperature in (
            (self.queries_, self.query_ids_, self.query_temperature),
            (self.documents_, self.ids_, self.document_temperature),
        ):
            hub = np.zeros(len(ids), dtype=bool)
            hub[first] = self._hubs(z[first], ids[first], members is self.queries_)
            out -= np.where(hub[place[:, :1]], attraction(z, ids, members, names, temperature)[place], 0.0)
        return Hits.sorted(hits.ids, out, calls=hits.calls)
