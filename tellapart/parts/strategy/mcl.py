from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import parse_spec, part
from tellapart.core.plan import Plan, cut, generator, kmeans

LEAST = 4


@part(
    paper="Zhang, Lan, Qu, Cheng, Feng, Hooi: Learning the Unlearned: Mitigating Feature Suppression in Contrastive "
    "Learning, ECCV 2024",
    place="pairs",
    system="mcl",
    traits=("stages",),
    needs=("torch", "sklearn"),
    aliases=("multistage-contrastive",),
)
class Mcl(nn.Module):
    """Head after head is trained, each on what those before it could not tell apart.

    Stage 1 is plain in-batch training of the first head of a `staged-head`. After a stage every document is encoded by
    its head alone, and the unit vectors are cut into `clusters` by k-means. An item's pseudo-label is the whole series
    of its clusters::

        label_1 = cluster_1,    label_s = label_(s-1) * clusters + cluster_s

    In stage s a new head is trained with the recipe's objective, and row i has as negatives only the items j with
    label_(s-1)[j] = label_(s-1)[i]: whatever an earlier stage has already put apart is not there to be told from, and
    the head must find something else. Earlier heads stay as they are; the final vector is all of them side by side.

    Batches of a later stage are its own: the labels in random order, the items of each in random order, one after the
    other, cut into batches which are shuffled, so that most of a batch has one label. Stages have equal shares of the
    steps, each with a warm-up and a decay of the learning rate of its own, as they are trainings of their own.

    Followed is the paper, a factor for every stage; the authors' cluster.py takes the labels of the last stage each
    time. In their batches all items have one label, and labels with fewer items than a batch are left out; here they
    share a batch. Their encoder is new (or fine-tuned anew) at every stage; here heads above frozen features are. They
    cluster pictures; here it is the documents. K-means is on all items, not by mini-batches. Duplicates and known
    positives are no negatives; mined negatives are not looked at.

    When to use: pairs that share several things of which one is easy, so that plain training learns it and no more.
    Where one head of the whole width learns all, stages cost accuracy: each is narrower and has fewer steps. Needs
    `head="staged-head"` on frozen features, and no sampler of its own.

    Args:
        clusters: of a stage, the paper's K; at most as many as leave four items a label on average before the last
            stage.

    Relations: `tas` makes batches of one topic once, by frozen vectors; `interclr` takes negatives near the row, from
    other clusters.
    """

    def __init__(self, *, clusters: Annotated[int, Field(ge=2, le=1000)] = 10) -> None:
        super().__init__()
        self.clusters = clusters

    def begin(self, run: Any) -> None:
        """Give every item the same label."""
        towers = list(dict.fromkeys(run.towers.values()))
        if not all(hasattr(tower, "stage") for tower in towers):
            raise PartError("mcl trains heads of several stages on frozen features: set head=staged-head, tune=head")
        self.stages = len(towers[0].parts)
        if run.recipe.epochs < self.stages:
            raise PartError(f"mcl: {run.recipe.epochs} epochs are too few for {self.stages} stages; train longer")
        if run.recipe.average * self.stages > 1:
            raise PartError(f"mcl: average={run.recipe.average} reaches back before the last of {self.stages} stages")
        if parse_spec(run.recipe.sample)[0] != "shuffle":
            raise PartError(f"mcl plans its batches after the first stage by itself: leave sample={run.recipe.sample}")
        while self.stages > 1 and LEAST * self.clusters ** (self.stages - 1) > len(run.data):
            self.clusters -= 1
        if self.clusters < 2:
            least = LEAST * 2 ** (self.stages - 1)
            raise PartError(f"mcl of {self.stages} stages needs at least {least} items to cluster, not {len(run.data)}")
        self.register_buffer("labels", torch.zeros(len(run.data), dtype=torch.int64))
        self._planned: tuple[tuple[int, int], Plan] = ((0, 0), [])

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]; after the first stage, of one of its own."""
        if run.steps < self.stages:
            raise PartError(f"mcl: {run.steps} steps are too few for {self.stages} stages; train longer")
        stage = run.step * self.stages // run.steps
        head = run.towers["document"]
        if int(head.stage) < stage:
            self._advance(run, head)
        if stage:
            batch = run.share(self._own(run, stage))
        q = self._encoded(run, "query", batch)
        k = q if run.data.same_space else self._encoded(run, "document", batch)
        query = self._contrast(run, q, k, batch)
        if run.data.same_space or not run.recipe.both_ways:
            return {"query": query}
        return {"query": query / 2, "document": self._contrast(run, k, q, batch, reverse=True) / 2}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _encoded(self, run: Any, side: str, batch: np.ndarray) -> Tensor:
        """[n, d] unit vectors by the head of the present stage."""
        head = run.towers[side]
        z: Tensor = run.encode(side, batch)[:, head.parts[int(head.stage)]]
        return z * (int(head.stage) + 1) ** 0.5

    def _contrast(self, run: Any, q: Tensor, k: Tensor, batch: np.ndarray, *, reverse: bool = False) -> Tensor:
        """The recipe's loss, with negatives of the row's own label."""
        pairs = replace(run.pairing(q, k, batch, reverse=reverse), own=None, own_neg=None)
        if not int(run.towers["document"].stage):
            plain: Tensor = run.contrast(pairs)
            return plain
        mine = {"label": self.labels[torch.from_numpy(batch).to(self.labels.device)]}
        pairs = replace(pairs, rows={**pairs.rows, **mine}, cols={**pairs.cols, **mine})
        chain = replace(run.chain, augment=(_within_labels, *run.chain.augment))
        loss: Tensor = chain.loss(pairs, seed=run.draw("contrast"))
        return loss

    @torch.no_grad()
    def _advance(self, run: Any, head: Any) -> None:
        """Cluster what the present head sees, and begin the next."""
        z = unit(run.encode_all("document")[:, head.parts[int(head.stage)]])
        found = kmeans(z.cpu().numpy(), self.clusters, run.seed)
        self.labels.mul_(self.clusters).add_(torch.from_numpy(found).to(self.labels.device))
        for tower in dict.fromkeys(run.towers.values()):
            tower.begin(int(tower.stage) + 1)

    def _own(self, run: Any, stage: int) -> np.ndarray:
        """The rows of this step of all processes: every item once in a round, those of one label together."""
        first = -(-stage * run.steps // self.stages)
        whole = max(1, len(self.labels) // run.recipe.batch_size)
        turn, at = divmod(run.step - first, whole)
        if self._planned[0] != (stage, turn):
            rng, labels = generator(run.seed, turn, stage), self.labels.cpu().numpy()
            members = [rng.permutation(np.flatnonzero(labels == c)) for c in rng.permutation(np.unique(labels))]
            plan = cut(np.concatenate(members), run.recipe.batch_size)
            self._planned = ((stage, turn), [plan[i] for i in rng.permutation(len(plan))])
        return self._planned[1][at]


def _within_labels(enc: Encoded, *, rng: Any) -> Encoded:
    """The block without negatives of another label."""
    return enc.with_relation(enc.rel.without_negatives(enc.rows["label"][:, None] != enc.cols["label"]))
