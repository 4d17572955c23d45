from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.parts import part


@part(
    paper="Zhan et al., Optimizing Dense Retrieval Model Training with Hard Negatives, SIGIR 2021 (STAR)",
    place="pairs",
    system="star-adore",
    needs=("torch",),
)
class Star(nn.Module):
    """Static hard negatives, mixed with the batch's random ones so that training stays bounded.

    For a share `warmup` of the steps this is plain in-batch training. Then every query's `depth` best documents by the
    model as it stands are written down once, less its positives and its duplicate group; from there on each query sees
    `draws` of them, drawn anew at every step, beside the other documents of the batch.

    The paper takes a RankNet loss over (positive, negative) pairs: `objective="ranknet"`. Static negatives alone can
    make the model forget all others, which is why the random ones stay. Retrieval here is exact over the training
    documents, in blocks of rows.

    Args:
        warmup: share of the steps before the negatives are written down.
        depth: how many hard negatives a query keeps.
        draws: how many of them it meets at a step.

    Relations: `adore` goes on from it with the documents frozen; `tas-b` makes the batch itself hard instead.
    """

    def __init__(
        self,
        *,
        warmup: Annotated[float, Field(ge=0, le=1)] = 0.3,
        depth: Annotated[int, Field(ge=1, le=10_000)] = 100,
        draws: Annotated[int, Field(ge=1, le=1_000)] = 4,
    ) -> None:
        super().__init__()
        self.warmup, self.depth, self.draws = warmup, depth, draws

    def begin(self, run: Any) -> None:
        """Lay out the list of static negatives, empty."""
        self.depth = min(self.depth, len(run.data) - 1)
        self.register_buffer("negatives", torch.full((len(run.data), self.depth), -1, dtype=torch.int64))
        self.register_buffer("written", torch.zeros((), dtype=torch.bool))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        if not self.written and run.step >= self.warmup * run.steps:
            self.negatives.copy_(self._hardest(run))
            self.written.fill_(True)
        q, k = run.encode("query", batch), run.encode("document", batch)
        pairs = run.pairing(q, k, batch)
        if self.written:
            held = self.negatives[torch.from_numpy(batch)]
            chosen = RowDraws(run.draw("star"), torch.from_numpy(batch)).integers(self.depth, self.draws)
            pairs = run.with_negatives(pairs, held.gather(1, chosen.to(held.device)).cpu())
            assert pairs.own_neg is not None
            pairs = replace(pairs, own_neg=pairs.own_neg * (len(batch) - 1) / self.draws)
        return {"query": run.contrast(pairs)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    @torch.no_grad()
    def _hardest(self, run: Any) -> Tensor:
        """[n, depth] documents that score best for each query and are nothing else to it; -1 where there are fewer."""
        q, k = run.encode_all("query"), run.encode_all("document")
        keys = run.data.keys
        found = []
        for rows in torch.arange(len(q)).split(1024):
            sim = q[rows] @ k.T
            known = keys.group[rows, None] == keys.group
            known |= (keys.target[rows, None] == keys.target) | (keys.item[rows, None] == keys.item)
            best = sim.masked_fill(known.to(sim.device), -torch.inf).topk(self.depth, dim=1)
            found.append(best.indices.masked_fill(best.values.isneginf(), -1))
        return torch.cat(found)
