from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import make, part


@part(
    paper="Zhan et al., Optimizing Dense Retrieval Model Training with Hard Negatives, SIGIR 2021 (ADORE)",
    place="pairs",
    system="star-adore",
    needs=("torch",),
)
class Adore(nn.Module):
    """Only the query tower learns, against the live ranking of a frozen document index.

    The strategy `start` runs for the share `before` of the steps. Then the document tower is frozen and all documents
    are encoded once. At every later step each query searches that index; its `depth` best documents, less its positives
    and its duplicate group, are its negatives, and a pair weighs as much as swapping its two documents would change the
    reciprocal rank, |1/rank(positive) - 1/rank(negative)| (LambdaRank's weight for MRR). Since documents do not move,
    nothing is indexed again and what is trained is what is searched.

    The paper takes RankNet over the pairs: `objective="ranknet"`.

    Args:
        start: the strategy before, by name; the paper composes it with `star`.
        before: share of the steps it runs.
        depth: negatives a query.

    Relations: `star` is its first half; documents that are served from an index already in use can be kept as they are.
    """

    def __init__(
        self,
        *,
        start: str = "star",
        before: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        depth: Annotated[int, Field(ge=1, le=10_000)] = 100,
    ) -> None:
        super().__init__()
        self.start, self.before, self.depth = start, before, depth

    def begin(self, run: Any) -> None:
        """Prepare the strategy before, and room for the index."""
        self.depth = min(self.depth, len(run.data) - 1)
        self.first: Any = make("strategy", self.start)
        self.first.begin(run)
        self.register_buffer("index", torch.zeros(len(run.data), run.dim()))
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        if not self.frozen and run.step < self.before * run.steps:
            losses: dict[str, Tensor] = self.first.step(run, batch)
            return losses
        if not self.frozen:
            self.index.copy_(run.encode_all("document"))
            self.frozen.fill_(True)
        run.towers["document"].requires_grad_(False)
        rows = torch.from_numpy(batch).to(self.index.device)
        q = run.encode("query", batch)
        own, weight = self._live_negatives(run, q.detach(), rows)
        pairs = replace(run.pairing(q, self.index[rows], batch), own=own, own_neg=weight, in_batch=False)
        return {"query": run.contrast(pairs)}

    def after(self, run: Any) -> None:
        """What the strategy before keeps, while it runs."""
        if not self.frozen:
            self.first.after(run)

    @torch.no_grad()
    def _live_negatives(self, run: Any, q: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """([n, depth, d] vectors, [n, depth] weights) of the best wrong documents by the ranking as it is now."""
        keys = run.keys(np.arange(len(run.data)))
        sim = q @ self.index.T
        known = keys.group[rows, None] == keys.group
        known |= (keys.target[rows, None] == keys.target) | (keys.item[rows, None] == keys.item)
        positive = sim.gather(1, rows[:, None])
        wrong = sim.masked_fill(known, -torch.inf)
        best = wrong.topk(self.depth, dim=1)
        rank_positive = 1 + (wrong > positive).sum(1, keepdim=True)
        place = torch.arange(1, self.depth + 1, device=sim.device)
        rank_negative = place + (positive >= best.values)
        weight = (1 / rank_positive - 1 / rank_negative).abs()
        return self.index[best.indices], weight.masked_fill(best.values.isneginf(), 0.0)
