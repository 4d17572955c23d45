from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import make, part
from tellapart.core.terms import beside_own, bm25, counted, naming_map
from tellapart.parts.strategy._terms import documents, ensemble, looked_at, queries, table

FASTEST, MOST_SOLVED = 2.0, 50_000


@part(
    paper="Geng, Wang, Ru, Yang: Towards Competitive Search Relevance For Inference-Free Learned Sparse Retrievers, "
    "arXiv 2411.04403, 2024 (second version 2025)",
    place="retrieve",
    system="idf-flops",
    traits=("texts", "guide"),
    needs=("torch",),
)
class IdfFlops(nn.Module):
    """Documents as learnt weights of terms, searched by a query that no model reads: its terms and a table of idf.

    Formula, for a document of tokens with states h_i, terms with the text model's own embeddings e_t, and a query q::

        d_t = max_i log(1 + relu(h_i W e_t + b)),      s(q, d) = sum over the different terms t of q: idf(t) d_t
        L   = taught KL(softmax(T) || softmax(s)) + (1 - taught) l(s)
              + penalty sum_t (mean of d_t over the batch)^2
        T   = 30 · mean of the teachers' scores, each brought to 0..1 by its least and greatest of the candidates

    with the documents of the batch as candidates, l the cross-entropy of the own document (members of its duplicate
    group left out), and two teachers: the cosines of the frozen encoder, and BM25. idf(t) = log(1 + (n - n_t + 1/2) /
    (n_t + 1/2)) over the searched documents; it stands in the score alone, so that rare terms have larger gradients
    against the same pressure to be 0, and the common ones go first. S = 30, the idf, and FLOPS without idf inside are
    those of the authors' code, which was read for what the paper leaves open.

    The dense towers are trained beside it by the strategy `dense`, so a run has its vectors, figures and index as ever;
    the weights go into `sparse/` of the run folder (`engine.sparse`), for search with --sparse or --hybrid --sparse.

    What differs from the paper: states and embeddings are those of the frozen encoder, whose release lacks a
    masked-language head and whose last states no longer name their words. So h_i is a token's state with its own
    embedding beside it, W begins as the map after which both name the token (`core.terms.naming_map`), and b is one
    number for all terms, so that terms which training did not see count too. Terms are those of the collection. The
    weight of the penalty is steered, not set and ramped up: after each step it is multiplied by (non-zeros a document /
    `terms`)^`steering`, so that collections of any size end at about a known length. A step looks at the terms of its
    batch and at `sampled` others, which count for all the rest: scores are exact, the penalty is right on the average.
    Candidates are of the batch, without mined ones. BM25 stands for a learnt sparse teacher.

    Use it on pairs of texts whose words matter (names, code, part numbers), where queries must cost nothing. Dense
    vectors find more where a model may read the query. On some hundred pairs of one's own, labels teach as well as the
    teachers do (`taught=0`; see the recorded evidence). Relations:
    full text (`engine.fulltext`) needs no training and knows no other words for a thing.

    Args:
        dense: the strategy of the towers.
        terms: wanted mean number of non-zero terms a document.
        taught: share of the teachers in the loss.
        steering, penalty: how fast the weight of the penalty follows, and from where.
        sampled: terms a step beside those of its batch.
        pace: how much slower W learns than the towers, which begin at random; weight decay draws it to its beginning.

    Raises `PartError` for data that are no pairs of texts, and with an encoder that is tuned.
    """

    def __init__(
        self,
        *,
        dense: str = "two-tower",
        terms: Annotated[int, Field(ge=1, le=100_000)] = 128,
        taught: Annotated[float, Field(ge=0, le=1)] = 1.0,
        steering: Annotated[float, Field(gt=0, le=1)] = 0.2,
        penalty: Annotated[float, Field(gt=0, le=1000)] = 0.01,
        sampled: Annotated[int, Field(ge=1, le=1_000_000)] = 1000,
        pace: Annotated[float, Field(gt=0, le=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.dense, self.terms, self.taught, self.steering = dense, terms, taught, steering
        self.penalty, self.sampled, self.pace = penalty, sampled, pace

    def begin(self, run: Any) -> None:
        """Solve for the map that names tokens, and prepare the strategy of the towers."""
        held = run.data.extra
        if "term_vectors" not in held or run.data.guide is None or run.recipe.tune not in ("head", "none"):
            raise PartError(
                "idf-flops learns from pairs of texts with a frozen encoder that gives a vector for each token: give "
                "two columns of texts, text=minilm and tune=head, and use tellapart run or compare"
            )
        self.first: Any = make("strategy", self.dense)
        self.first.begin(run)
        vectors, states = held["term_vectors"], held["term_states"]
        rows = np.linspace(0, len(states) - 1, min(len(states), MOST_SOLVED)).astype(np.int64)
        rows = rows[held["terms"][rows] >= 0]
        beside = beside_own(states[rows], held["terms"][rows], vectors)
        start, shift = naming_map(beside, held["terms"][rows], vectors)
        self.register_buffer("start", torch.from_numpy(start))
        self.moved = nn.Parameter(torch.zeros_like(self.start))
        self.bias = nn.Parameter(torch.tensor(shift))
        self.register_buffer("weight", torch.tensor(self.penalty))
        self._bm25 = bm25(counted(held["term_starts"], held["terms"], len(vectors)))

    @property
    def map(self) -> Tensor:
        """[2 w, w] the map W."""
        found: Tensor = self.start + self.pace * self.moved
        return found

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        losses: dict[str, Tensor] = self.first.step(run, batch)
        held, place = run.data.extra, self.start.device
        every = run.gather(torch.from_numpy(batch).to(place)).cpu().numpy()
        columns, each = looked_at(held, every, self.sampled, run.draw("terms"))
        counts_for = torch.from_numpy(each).to(place)
        d = run.gather(documents(held, batch, columns, self.map, self.bias))
        q = torch.from_numpy(queries(held, batch, columns)).to(place)
        s = q @ d.T
        own = torch.from_numpy(batch[:, None] == every).to(place)
        total = s.new_zeros(len(s))
        if self.taught:
            words = torch.from_numpy(table(self._bm25.take(every), columns)).to(place)
            dense = [x[torch.from_numpy(rows)] for x, rows in zip(run.data.guide, (batch, every), strict=True)]
            aim = ensemble([q @ words.T, (dense[0] @ dense[1].T).to(place)]).log_softmax(1)
            total = total + self.taught * (aim.exp() * (aim - s.log_softmax(1))).sum(1)
        if self.taught < 1:
            mine, theirs = run.keys(batch), run.keys(every)
            known = (mine.group[:, None] == theirs.group) & ~own
            total = total - (1 - self.taught) * s.masked_fill(known, -torch.inf).log_softmax(1)[own]
        losses["terms"] = run.mean(total.sum(), total.new_tensor(float(len(total))))
        losses["penalty"] = self.weight * (d.mean(0).square() * counts_for).sum()
        self._seen = ((d.detach() > 0).to(d.dtype) @ counts_for).mean()
        return losses

    @torch.no_grad()
    def after(self, run: Any) -> None:
        """Steer the weight of the penalty."""
        self.first.after(run)
        self.weight.mul_((self._seen / self.terms).clamp(1 / FASTEST, FASTEST) ** self.steering)
