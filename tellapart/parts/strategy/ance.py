from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.parts import part
from tellapart.parts.strategy._mined import beside, drawn, hardest


@part(
    paper="Xiong et al., Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval, "
    "ICLR 2021 (ANCE)",
    place="pairs",
    needs=("torch",),
)
class Ance(nn.Module):
    """Hard negatives that are mined again and again by the model as it becomes, while it is trained.

    For a share `warmup` of the steps this is plain in-batch training. From then on, every `refresh` steps, all items
    are embedded afresh and each query's `depth` best documents written down, less its positives and its duplicate
    group; at every step a query meets `draws` of them, drawn anew, beside the other documents of the batch. What was a
    hard negative for the model at the start is an easy one later, and what was written down once becomes stale.

    Only what moved is mined again: a query whose vector has turned by no more than `moved` (one less the cosine) since
    its list was written keeps it. Embedding all costs a pass over the items, the search `n` rows times all documents.

    The paper trains a separate process on new checkpoints and mines meanwhile through an approximate index; here the
    training stops for it, and the search over the training documents is exact. Its loss has mined negatives alone; here
    the batch's random ones stay, which keeps training bounded.

    Args:
        warmup: share of the steps before anything is mined.
        refresh: steps from one mining to the next.
        depth: how many hard negatives a query keeps.
        draws: how many of them it meets at a step.
        moved: how far a query's vector must have turned for its list to be made anew; 0 makes all anew.

    Relations: `star` writes the negatives down once; `adore` searches at every step with the documents frozen.
    """

    def __init__(
        self,
        *,
        warmup: Annotated[float, Field(ge=0, le=1)] = 0.3,
        refresh: Annotated[int, Field(ge=1, le=1_000_000)] = 50,
        depth: Annotated[int, Field(ge=1, le=10_000)] = 100,
        draws: Annotated[int, Field(ge=1, le=1_000)] = 4,
        moved: Annotated[float, Field(ge=0, le=2)] = 0.0,
    ) -> None:
        super().__init__()
        self.warmup, self.refresh, self.depth, self.draws, self.moved = warmup, refresh, depth, draws, moved

    def begin(self, run: Any) -> None:
        """Lay out the lists, empty, and what the queries were when theirs was written."""
        self.depth = min(self.depth, len(run.data) - 1)
        self.register_buffer("negatives", torch.full((len(run.data), self.depth), -1, dtype=torch.int64))
        self.register_buffer("mined", torch.zeros(len(run.data), run.dim()))
        self.register_buffer("last", torch.full((), -1, dtype=torch.int64))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        begun = int(self.last) >= 0
        if run.step >= self.warmup * run.steps and not (begun and run.step - int(self.last) < self.refresh):
            self._mine(run)
        rows = torch.from_numpy(batch)
        pairs = run.pairing(run.encode("query", batch), run.encode("document", batch), batch)
        if int(self.last) >= 0:
            draws = RowDraws(run.draw("ance"), rows)
            pairs = beside(
                run, pairs, drawn(self.negatives[rows.to(self.negatives.device)], draws, self.draws), "document"
            )
        return {"query": run.contrast(pairs)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    @torch.no_grad()
    def _mine(self, run: Any) -> None:
        """Write the lists of the queries that moved."""
        q = run.encode_all("query")
        turned = 1 - (q * self.mined).sum(1)
        rows = torch.nonzero(turned > self.moved if self.moved else torch.ones_like(turned, dtype=torch.bool))[:, 0]
        if len(rows):
            self.negatives[rows] = hardest(run, self.depth, rows=rows.cpu())
            self.mined[rows] = q[rows]
        self.last.fill_(run.step)
