from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.core.plan import kmeans
from tellapart.parts.strategy._mined import beside

A_CLUSTER = 64


@part(
    paper="Rony, Alam, Ali, Lehmann, Vahdati: LEMON: LanguagE ModeL for Negative Sampling of Knowledge Graph "
    "Embeddings, arXiv 2022",
    place="pairs",
    system="lemon",
    needs=("torch", "sklearn"),
)
class Lemon(nn.Module):
    """Corrupted triples: the other end is replaced by something of its own text cluster.

    A triple (head, relation, tail) is a pair: `anchor` is the text of the head with the relation in words, `positive`
    the text of the tail. Before the first step the distinct tails are embedded by the frozen encoder and clustered by
    k-means, once. At every step each pair of the batch meets, beside the batch's other tails, `draws` corruptions::

        (head, relation, tail'),   tail' uniform over the distinct tails in the cluster of `tail`, with replacement

    and when the recipe says `both_ways`, heads with their relations are clustered and replaced likewise. A corruption
    that is known to be true is left out: the tail of any pair with the same anchor, and duplicates of one. Together the
    corruptions weigh as much as the batch's others, which are the uniform ones of the usual training. Nothing is
    searched or scored to find them, so a step costs their encoding alone.

    What was taken: clusters of the texts' vectors, made once; the number of clusters and the share of uniform negatives
    could not be verified in the paper and are options or as said above. The paper trains TransE and its like, with a
    vector an entity; here towers read the texts, so that entities without a triple have vectors too, and head and
    relation are one text that is replaced whole. Items without a text are clustered by their encoder all the same.

    Raises PartError where both sides are one column, or a side has fewer than four distinct items.

    Args:
        clusters: of each side, at most half of its distinct items; 0 takes one for every 64 of them; 1 draws from all,
            which is uniform corruption and the control.
        draws: corruptions of each side that a pair meets at a step.

    When to use: triples, or pairs with many documents of one kind (a place, a species, a function of one module), where
    a random other document is told apart by its kind alone. Clusters that hold unknown truths make false negatives.

    Relations: `star` takes what the model itself confuses, for a search over all; `tas` plans whole batches of one
    cluster of queries, without further encoding.
    """

    def __init__(
        self,
        *,
        clusters: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
        draws: Annotated[int, Field(ge=1, le=1_000)] = 8,
    ) -> None:
        super().__init__()
        self.clusters, self.draws = clusters, draws

    def begin(self, run: Any) -> None:
        """Cluster both sides, and write down which of their items are known to belong together."""
        if run.data.same_space:
            raise PartError("lemon corrupts pairs of two sides, and this collection is searched by itself; try tas")
        for side in ("query", "document"):
            self._lay_out(run, side)
        keys = run.data.keys
        _, asked = torch.where(keys.target >= 0, keys.target, -2 - keys.item).unique(return_inverse=True)
        _, answer = keys.group.unique(return_inverse=True)
        self._many = int(answer.max()) + 1
        self.register_buffer("asked", asked * self._many)
        self.register_buffer("answer", answer)
        self.register_buffer("true", (self.asked + answer).unique())

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n], with the corruptions of either side."""
        q, k = run.encode("query", batch), run.encode("document", batch)
        tails = self._corrupted(run, run.pairing(q, k, batch), batch, "document")
        if not run.recipe.both_ways:
            return {"query": run.contrast(tails)}
        heads = self._corrupted(run, run.pairing(k, q, batch, reverse=True), batch, "query")
        return {"query": run.contrast(tails) / 2, "document": run.contrast(heads) / 2}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _lay_out(self, run: Any, side: str) -> None:
        """Buffers of a side: a row of each distinct item, cluster by cluster, and where each row's own cluster lies."""
        x, first, item = np.unique(_frozen(run, side), axis=0, return_index=True, return_inverse=True)
        if len(x) < 4:
            raise PartError(f"lemon: {len(x)} distinct items of the side {side} are too few for clusters")
        wanted = min(self.clusters or math.ceil(len(x) / A_CLUSTER), len(x) // 2)
        label = kmeans(x, wanted, run.seed)
        size = np.bincount(label, minlength=wanted)
        own = label[item.ravel()]
        self.register_buffer(f"{side}_order", torch.from_numpy(first[label.argsort(kind="stable")]))
        self.register_buffer(f"{side}_size", torch.from_numpy(size[own]))
        self.register_buffer(f"{side}_start", torch.from_numpy((size.cumsum() - size)[own]))

    def _corrupted(self, run: Any, pairs: Any, batch: np.ndarray, side: str) -> Any:
        """A pairing with rows of a side drawn from the clusters of the batch's own."""
        rows = torch.from_numpy(batch).to(self.true.device)
        order, size, start = (getattr(self, f"{side}_{name}") for name in ("order", "size", "start"))
        share = RowDraws(run.draw(f"lemon {side}"), rows).uniform(self.draws)
        place = (share * size[rows, None]).long().minimum(size[rows, None] - 1)
        drawn = order[start[rows, None] + place]
        query, document = (rows[:, None], drawn) if side == "document" else (drawn, rows[:, None])
        known = torch.isin(self.asked[query] + self.answer[document], self.true)
        before = 0 if pairs.own is None else pairs.own.shape[1]
        pairs = beside(run, pairs, drawn.masked_fill(known, -1), side)
        weight = pairs.own_neg.clone()
        weight[:, before:] *= (len(batch) - 1) / self.draws
        return replace(pairs, own_neg=weight)


@torch.no_grad()
def _frozen(run: Any, side: str) -> np.ndarray:
    """[n, width] float32 vectors of a side by its encoder as it was before training."""
    inputs = getattr(run.data, side)
    encoder = inputs.encoder()
    found = []
    for rows in np.array_split(np.arange(len(inputs)), math.ceil(len(inputs) / inputs.chunk)):
        x = inputs.batch(rows, seed=None)
        found.append(x if encoder is None else encoder.eval()(x))
    return np.asarray(torch.cat(found).float())
