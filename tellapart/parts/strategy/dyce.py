from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Keys
from tellapart.parts.strategy._clusters import means, spread
from tellapart.parts.strategy._queued import Copies, Queues

SIDES = ("query", "document")
ROUNDS = 10
INSIDE = 4.0


@part(
    paper="Poulakakis-Daktylidis & Jamali-Rad, BECLR: Batch Enhanced Contrastive Few-Shot Learning, ICLR 2024",
    place="pairs",
    system="beclr",
    needs=("torch",),
    aliases=("batch-enhanced",),
)
class Dyce(nn.Module):
    """Every pair brings the nearest entries of its cluster in a memory as further positives.

    A slow copy of the towers (`momentum`) gives the columns, and a memory keeps its last `size` vectors of each side.
    Once full it is cut into clusters; from then on the vectors of each batch are shared out evenly among them::

        Q_bc = exp(z_b . centroid_c / epsilon), columns and rows brought in turns to the sums B/C and 1, ten times
        label of b = argmax_c Q_bc

    and centroids are the means of their members (an empty one stays). For row i with vector q_i, and d_i the copy's
    vector of its document, m_i1 ... m_ik are the `k` memory entries nearest to d_i in the cluster of the nearest
    centroid (the nearest others where there are fewer). With L(a, b) the recipe's objective, rows a and columns b::

        loss = ( L(q, d) + L(q, m_1) + ... + L(q, m_k) ) / (k + 1)

    so that a row tells its own neighbours from those of the other rows, and the batch grows k + 1 times. Documents look
    for queries likewise. Neighbours are used from the share `start` of the steps on.

    What was taken: the memory is that of the authors' code, which pulls by -cosine with a predictor and spreads vectors
    by a uniformity term, where here the objective is the recipe's. In that code neighbours are paired with neighbours,
    both without a gradient; here the row itself is pulled, as the paper says. It scores by Euclidean distance and
    assigns to the largest; here, as in the paper, to the most similar. Clusters start from halving, not from k-means,
    and are not made anew later. An entry of the row's own duplicate group is no neighbour.

    Args:
        k: neighbours a row, at most a quarter of the memory; 0: none. The authors' code has 5.
        clusters: at most a quarter of the memory.
        size: of the memory; the paper's is 20 to 40 entries a cluster. epsilon: small makes the sharing uneven.

    When to use: pairs that fall into kinds, without labels, where items of a kind may stand close. In search for the
    one right item the neighbours are wrong answers, and pulling to them costs. Needs two sides and no guide.

    Relations: `interclr` draws one positive from the whole cluster; `opta` is the other half of the paper.
    """

    def __init__(
        self,
        *,
        k: Annotated[int, Field(ge=0, le=100)] = 3,
        clusters: Annotated[int, Field(ge=2, le=10_000)] = 50,
        size: Annotated[int, Field(ge=8, le=1_000_000)] = 1024,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        start: Annotated[float, Field(ge=0, le=1)] = 0.15,
        epsilon: Annotated[float, Field(ge=0.02, le=10)] = 0.05,
    ) -> None:
        super().__init__()
        self.k, self.clusters, self.size = k, clusters, size
        self.momentum, self.start, self.epsilon = momentum, start, epsilon

    def begin(self, run: Any) -> None:
        """Copy the towers and lay out an empty memory."""
        if run.data.same_space:
            raise PartError("dyce needs pairs of two sides, and this collection is searched by itself")
        if len(run.data) < 8:
            raise PartError(f"dyce needs at least 8 pairs to find clusters in, not {len(run.data)}")
        if run.data.guide is not None:
            raise PartError("dyce keeps no guide's vectors in its memory: leave the relation or objective with one out")
        size = min(self.size, len(run.data))
        self.k = min(self.k, size // 4)
        self.copies, self.memory = Copies(run.towers, self.momentum), Queues(SIDES, size, run.dim())
        self.register_buffer("clustered", torch.zeros((), dtype=torch.bool))
        for side in SIDES:
            self.register_buffer(f"{side}_labels", torch.zeros(size, dtype=torch.int64))
            self.register_buffer(f"{side}_centroids", torch.zeros(min(self.clusters, size // 4), run.dim()))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]; what is to be remembered waits for `after`."""
        sides = SIDES if run.recipe.both_ways else SIDES[:1]
        with torch.no_grad():
            self._new = {side: run.encode(side, batch, tower=self.copies[side]) for side in SIDES}
        self._keys = run.keys(batch)
        k = self.k if self.clustered and run.step >= self.start * run.steps else 0
        losses = {}
        for side in sides:
            other = SIDES[side == "query"]
            pairs = run.pairing(run.encode(side, batch), self._new[other], batch, reverse=side == "document")
            weight = 1 / (len(sides) * (k + 1))
            losses[side] = run.contrast(pairs) * weight
            for j, near in enumerate(self._neighbours(other, k) if k else ()):
                columns = Keys(*self.memory.keys[near].T, self._keys.target)
                found = replace(pairs, k=self.memory.of(other)[near], col_keys=columns, own=None, own_neg=None)
                losses[f"{side}, neighbour {j + 1}"] = run.contrast(found) * weight
        return losses

    @torch.no_grad()
    def after(self, run: Any) -> None:
        """Move the copies, put the batch into the memory, and share it out among the clusters."""
        self.copies.move(run.towers)
        places = self.memory.put(self._new, self._keys, run)
        for side in SIDES:
            labels, centroids, held = self._state(side)
            if self.clustered:
                labels[places] = self._shared_out(held[places], centroids)
                centroids.copy_(means(held, labels, centroids))
            elif len(self.memory) == self.memory.size:
                for buffer, found in zip((labels, centroids), spread(held, len(centroids)), strict=True):
                    buffer.copy_(found)
        self.clustered.fill_(len(self.memory) == self.memory.size)

    def _state(self, side: str) -> tuple[Tensor, Tensor, Tensor]:
        """Labels, centroids and vectors of a side's memory."""
        return getattr(self, f"{side}_labels"), getattr(self, f"{side}_centroids"), self.memory.of(side)

    def _neighbours(self, side: str, k: int) -> Tensor:
        """[k, n] places in the memory of the entries nearest to the batch's vectors of a side."""
        labels, centroids, held = self._state(side)
        z = self._new[side]
        nearest = (z @ unit(centroids).T).argmax(1)
        sim = z @ held.T + INSIDE * (labels == nearest[:, None])
        own = self.memory.keys[:, 1] == self._keys.group[:, None]
        return sim.masked_fill(own, -INSIDE).topk(k, dim=1).indices.T

    def _shared_out(self, z: Tensor, centroids: Tensor) -> Tensor:
        """[n] clusters, each of about equally many items."""
        q = ((z @ unit(centroids).T).double() / self.epsilon).exp()
        for _ in range(ROUNDS):
            q = q / q.sum(0) * (len(z) / len(centroids))
            q = q / q.sum(1, keepdim=True)
        return q.argmax(1)
