from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.parts.strategy._metapaths import Views


@part(
    paper="Yu, Ge, Li, Zhou: Heterogeneous Graph Contrastive Learning With Meta-Path Contexts and Adaptively Weighted "
    "Negative Samples, IEEE TKDE 2024",
    place="pairs",
    system="meow",
    traits=("edges",),
    needs=("torch",),
)
class Adameow(nn.Module):
    """A node's two views over meta-paths, with a small network that weighs each negative.

    The coarse views u and the fine views v of a batch are those of `meow`. For row i, its own column i and all others::

        s_ij = sigmoid( B tanh( A (v_i + u_j) + a ) + b ),   A of `width` rows
        w_ij = s_ij / mean_j s_ij
        loss = mean_i -log( e^(v_i.u_i / T) / sum_j w_ij e^(v_i.u_j / T) ),   T = temperature

    The network trains on the same loss as the views: it takes weight from what is hard to tell apart, on the guess that
    this is often of one kind. Labels are not used. A duplicate of a row is left out of its sum. The recipe's objective
    is not asked: it would take weights for constants.

    What was taken: the network, the sum with the row's own column in it, and the views' roles (rows are fine, columns
    coarse, the reverse of `meow`) are those of the authors' code. There w = s, so that the loss falls without end while
    all weights go to 0, and training is stopped early; divided by its row's mean a weight can only move from one column
    to another. There is neither clustering nor a term of prototypes. Other deviations are those of `meow`.

    Raises PartError without links, or where no two nodes share a third one.

    Args:
        paths, neighbours: as in `meow`.
        temperature: the authors' are 0.4 to 0.9.
        width: of the network; theirs is 16. A step holds n x m x width numbers.

    When to use: to try beside `meow` on the same data, where clusters would cut across what is searched for. What is
    hard to tell apart need not be of one kind: look at the evidence first.

    Relations: `meow` weighs by clusters and adds prototypes; `drop-near-positive` leaves out by a margin instead.
    """

    def __init__(
        self,
        *,
        paths: Annotated[int, Field(ge=1, le=64)] = 4,
        neighbours: Annotated[int, Field(ge=1, le=64)] = 10,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.4,
        width: Annotated[int, Field(ge=1, le=1024)] = 16,
    ) -> None:
        super().__init__()
        self.paths, self.neighbours, self.temperature, self.width = paths, neighbours, temperature, width

    def begin(self, run: Any) -> None:
        """Find the meta-paths and draw the network."""
        self.views = Views(run, "adameow", paths=self.paths, neighbours=self.neighbours)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.draw("adameow weights"))
            self.first, self.second = nn.Linear(run.dim(), self.width), nn.Linear(self.width, 1)
        self.to(run.device)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        u, v = self.views.pair(run, torch.from_numpy(batch).to(run.device))
        u, keys = run.gather(u), run.keys(batch)
        item, group = run.gather(keys.item), run.gather(keys.group)
        own = keys.item[:, None] == item
        counts = own | (keys.group[:, None] != group)
        sim = v @ u.T / self.temperature
        told = (sim + self._weight(v, u, counts).log()).masked_fill(~counts, -torch.inf)
        return {"views": (told.logsumexp(1) - sim[own]).mean()}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def fine(self, h: Tensor) -> Tensor:
        """[n, d] fine views of all training rows from their vectors [n, d] by the document tower."""
        return self.views.all(h)

    def weights(self, h: Tensor) -> Tensor:
        """[n, n] weights of all training rows as negatives of each other, both towers being one."""
        z = h.to(self.views.near.device)
        rows = torch.arange(len(z), device=z.device)
        u, v = self.views.coarse(rows, lambda needed: z[needed]), self.views.all(z)
        every = torch.ones(len(z), len(z), dtype=torch.bool, device=z.device)
        return self._weight(self.views.projected(v), self.views.projected(u), every).to(h.device)

    def _weight(self, v: Tensor, u: Tensor, counts: Tensor) -> Tensor:
        """[n, m] weights of mean 1 over the columns that count for a row."""
        a, b = nn.functional.linear(v, self.first.weight), self.first(u)
        s = self.second((a[:, None] + b).tanh())[..., 0].sigmoid()
        return s / ((s * counts).sum(1, keepdim=True) / counts.sum(1, keepdim=True))
