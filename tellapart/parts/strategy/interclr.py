from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import make, part
from tellapart.core.relation import Relation
from tellapart.parts.strategy._clusters import means, spread, tidied

POSITIVE, NEGATIVE = range(2)


@part(
    paper="Xie, Zhan, Liu, Ong, Loy: Delving into Inter-Image Invariance for Unsupervised Visual Representations, "
    "IJCV 2022",
    place="pairs",
    system="interclr",
    needs=("torch",),
)
class Interclr(nn.Module):
    """Items of one cluster attract each other; what repels is drawn from the nearer part of all others.

    The last vectors of all training items stand in a bank, with a pseudo-label each. For row i with vector z, a
    positive p drawn uniformly from the bank's items of its label, and `draws` negatives j drawn uniformly from the
    share `pool` of the bank that is nearest to z, less its label::

        loss = (1 - weight) * intra + weight * inter(z.p, z.j),
        inter = -log( e^((z.p + 0.5) / T) / (e^((z.p + 0.5) / T) + sum_j e^(z.j / T) ) )

    `intra` is a whole strategy: pairs of an item's two sides (the paper: two views of a picture). After every step the
    batch's new vectors go into the bank and the batch is labelled anew by the centroid of highest inner product;
    centroids become their members' means every `refresh` steps; clusters below `least` items are dissolved, and half of
    the largest takes their place. This is the paper's choice of its three questions: labels online, negatives semi-hard
    (hard ones are often false, random ones idle), a margin below 0 that does not insist on unsure positives.

    Rows of one side meet the bank of the other. Here duplicates and known positives are no negatives either; labels
    start from clusters that are split in two and evened out, not from k-means; vectors of the bank come from the towers
    themselves, not from a slow copy. The paper has 10,000 clusters of 1.3 million pictures and draws 1.3% of them.

    When to use: pairs whose items fall into kinds, with no labels. Where clusters cut across what is searched for they
    do harm: look at them first. Needs two sides. Each step encodes its batch a second time and scores it against all
    items.

    Args:
        intra: the strategy for an item's own pair, by name; the paper's is `momentum-queue`.
        inter: the objective of the other branch; the paper's has a margin of -0.5 and a temperature of 0.2.
        clusters: how many; at most a quarter of the items.
        draws: negatives a row. pool: the share of the bank they come from; 1 makes them random.

    Relations: `tas` clusters frozen vectors to plan batches; `star` writes down the hardest; `supcon` where labels are.
    """

    def __init__(
        self,
        *,
        intra: str = "two-tower",
        inter: str = "cosface(margin=-0.5, temperature=0.2)",
        weight: Annotated[float, Field(ge=0, le=1)] = 0.25,
        clusters: Annotated[int, Field(ge=2, le=10_000)] = 100,
        draws: Annotated[int, Field(ge=1, le=100_000)] = 128,
        pool: Annotated[float, Field(gt=0, le=1)] = 0.1,
        least: Annotated[int, Field(ge=1, le=10_000)] = 2,
        refresh: Annotated[int, Field(ge=1, le=100_000)] = 10,
    ) -> None:
        super().__init__()
        self.intra, self.inter, self.weight, self.clusters = intra, inter, weight, clusters
        self.draws, self.pool, self.least, self.refresh = draws, pool, least, refresh

    def begin(self, run: Any) -> None:
        """Fill the banks and cluster the documents."""
        if run.data.same_space:
            raise PartError("interclr needs pairs of two sides, and this collection is searched by itself")
        if len(run.data) < 8:
            raise PartError(f"interclr needs at least 8 pairs to find clusters in, not {len(run.data)}")
        self.own: Any = make("strategy", self.intra)
        self.own.begin(run)
        self._objective = make("objective", self.inter)
        for side in ("query", "document"):
            self.register_buffer(f"{side}_bank", run.encode_all(side).clone())
        labels, centroids = spread(self.document_bank, min(self.clusters, len(run.data) // 4))
        self.register_buffer("labels", labels)
        self.register_buffer("centroids", centroids)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n], both branches; what is new waits for `after`."""
        losses = {f"intra {name}": loss * (1 - self.weight) for name, loss in self.own.step(run, batch).items()}
        self._rows = torch.from_numpy(batch).to(self.labels.device)
        z = {side: run.encode(side, batch) for side in ("query", "document")}
        sides = ["query", "document"] if run.recipe.both_ways else ["query"]
        for side in sides:
            bank = self.document_bank if side == "query" else self.query_bank
            draws = RowDraws(run.draw(f"interclr {side}"), self._rows)
            losses[f"inter {side}"] = self._contrast(run, z[side], bank, draws) * (self.weight / len(sides))
        self._new = {side: x.detach() for side, x in z.items()}
        return losses

    @torch.no_grad()
    def after(self, run: Any) -> None:
        """Put the batch into the banks, label it anew, and keep the clusters in order."""
        self.own.after(run)
        rows = run.gather(self._rows)
        for side, x in self._new.items():
            getattr(self, f"{side}_bank")[rows] = run.gather(x)
        self.labels[rows] = (self.document_bank[rows] @ self.centroids.T).argmax(1)
        if (run.step + 1) % self.refresh == 0:
            self.centroids.copy_(means(self.document_bank, self.labels, self.centroids))
        tidied(self.document_bank, self.labels, self.centroids, self.least)

    def _contrast(self, run: Any, z: Tensor, bank: Tensor, draws: RowDraws) -> Tensor:
        """The mean loss of rows against a positive and negatives drawn for them."""
        with torch.no_grad():
            label = self.labels[self._rows]
            order, count = self.labels.argsort(stable=True), torch.bincount(self.labels, minlength=len(self.centroids))
            place = (draws.uniform(1, stream=POSITIVE)[:, 0] * count[label]).long().minimum(count[label] - 1)
            positive = order[(count.cumsum(0) - count)[label] + place]
            near = (z @ bank.T).topk(math.ceil(self.pool * len(bank)), dim=1).indices
            keys, mine = run.data.keys, self._rows.cpu()
            group, target = keys.group.to(near.device), keys.target.to(near.device)
            wrong = (self.labels[near] != label[:, None]) & (group[near] != keys.group[mine].to(near.device)[:, None])
            wrong &= (target[near] != keys.target[mine].to(near.device)[:, None]) | (target[near] < 0)
            chance = torch.where(wrong, draws.uniform(near.shape[1], stream=NEGATIVE), -1.0)
            drawn = chance.topk(min(self.draws, near.shape[1]), dim=1)
            columns = torch.cat([positive[:, None], near.gather(1, drawn.indices)], 1)
            neg = torch.cat([torch.zeros(len(z), 1, device=z.device), (drawn.values >= 0).float()], 1)
            pos = torch.zeros_like(neg)
            pos[:, 0] = 1.0
        loss: Tensor = self._objective(Encoded(z, bank[:0], Relation(pos, neg), own=bank[columns]))
        return loss.mean()
