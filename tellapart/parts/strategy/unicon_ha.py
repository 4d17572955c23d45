from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import make_chain, part
from tellapart.parts.strategy._prototypes import Projection
from tellapart.parts.strategy._turned import Turned, upto
from tellapart.parts.strategy._views import check_altered

TURNS, VIEWS = 4, 2


@part(
    paper="Wang, Wang, Qin, Zhang, Bao, Huang: Unilaterally Aggregated Contrastive Learning with Hierarchical "
    "Augmentation for Anomaly Detection, ICCV 2023",
    place="train",
    system="unicon-ha",
    traits=("views",),
    needs=("torch",),
    aliases=("unicon",),
)
class UniconHa(nn.Module):
    """Normal items gather, and turned ones, which stand for anomalies, scatter.

    Formula. Every item of the batch is altered twice as it is, an inlier, and twice turned by 90, 180 and 270 degrees,
    virtual outliers. For a copy x with unit vectors z in a projection, P(x) its positives and A(x) those and its
    negatives::

        P = for an inlier all other inlier copies of its class; for an outlier its own other copy, turned as it is
        w_j = sum over other inliers k of its class of exp(z_j . z_k / weight_temperature)
        loss(x) = - sum_{j in P} w_j log(exp(z_x . z_j / T) / sum_{a in A} exp(z_x . z_a / T)) / sum_{j in P} w_j

    with w = 1 where x is an outlier; the mean over all copies. An inlier that lies apart from the others, as where an
    alteration has cut out the wrong thing, so pulls less. Equally turned duplicates are neither.

    Hierarchy: `weaker` names augmentations for stages of the encoder before the last, weakest first, as in
    "flip-crop(smallest=0.9);flip-crop(smallest=0.6)". Each stage has copies of its own, a projection above the average
    over places of what its block gives, and this loss with w = 1; the mean over stages counts. The recipe's own
    augmentation is the strongest, for the vectors themselves. Projections are left behind when training ends.

    What was taken: all of the paper's formulas, both temperatures 0.5, weights at the last stage alone, equal shares of
    the stages. In print w_x w_j stands inside the logarithm, where it would be no weight; its text weighs pairs, so it
    is here before it, w_x falls out, and no gradient flows through it. Pictures are turned after they are altered.
    Vectors have no up and down: they are turned about their mean by three random rotations, as GOAD (Bergman and
    Hoshen, ICLR 2020) makes tasks of tables; no figure of the paper is about that.

    Args:
        temperature: T. dim: width of the projections.
        classes: "labels": where items share labels these are the classes, else all items are one; "one": one, whatever
            the labels; "items": each its own, which is the contrast of CSI and DROC.

    When to use: the run holds normal items alone, and what is like none of them is to be found with `tellapart detect
    --score knn`, the paper's score: pictures with image=small-cnn, tune=full and augment=flip-crop, texts with
    augment=mask-words. A run wants labels to measure its search by, so normal items lie in two folders at least; with
    classes="one" training does not look at them. Turned items must be abnormal: what looks alike turned, as 0 and 8, is
    told to gather and to scatter at once; yet it helped there, too. In the evidence it beats contrast without turned
    items; that gathering, weights and stages add to turned items as further negatives is not shown. Search within a
    class suffers.

    Raises `PartError` for pairs of two sides, items that nothing alters, inputs that cannot be turned (texts under
    tune=full), and `weaker` for a network without blocks.

    Relations: `multi-view` tells all items apart and knows no anomalies; `palm` gathers classes that labels name.
    """

    def __init__(
        self,
        *,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.5,
        weight_temperature: Annotated[float, Field(gt=0, le=100)] = 0.5,
        dim: Annotated[int, Field(ge=2, le=8192)] = 128,
        classes: Literal["labels", "one", "items"] = "labels",
        weaker: str = "",
    ) -> None:
        super().__init__()
        self.temperature, self.weight_temperature, self.dim = temperature, weight_temperature, dim
        self.classes, self.weaker = classes, [spec.strip() for spec in weaker.split(";") if spec.strip()]

    def begin(self, run: Any) -> None:
        """Draw projections and turns."""
        check_altered(run, "unicon-ha", "two-tower")
        x = run.data.query.batch(np.arange(min(2, len(run.data))), seed=None)
        self.turned = Turned(run, x, TURNS)
        with torch.no_grad():
            widths = [upto(run, at, len(self.weaker))(x.to(run.device)).shape[1] for at in range(len(self.weaker))]
        self.projections = nn.ModuleList(
            Projection(width, self.dim, seed=run.draw(f"projection {at}"))
            for at, width in enumerate([*widths, run.dim()])
        )
        target = run.data.keys.target
        shared = len(target[target >= 0].unique()) < int((target >= 0).sum())
        self._by = self.classes if self.classes != "labels" or shared else "one"

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        losses = []
        for stage, projection in enumerate(self.projections):
            inputs, last = run.data.query, stage == len(self.weaker)
            if not last:
                inputs = copy.copy(inputs)
                inputs.augment = tuple(make_chain("augment", self.weaker[stage]))
            seeds = [run.draw(f"{stage} {turn} {view}") for turn in range(TURNS) for view in range(VIEWS)]
            x = [self.turned(inputs.batch(batch, seed=s).to(run.device), i // VIEWS) for i, s in enumerate(seeds)]
            z = projection(run.through(upto(run, stage, len(self.weaker)), torch.cat(x))).float()
            losses.append(self._loss(run, z, batch, soft=last))
        return {"aggregation": torch.stack(losses).mean()}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _loss(self, run: Any, z: Tensor, batch: np.ndarray, *, soft: bool) -> Tensor:
        """The mean over copies [8 n, dim], which lie turn after turn and view after view."""
        keys, copies = run.keys(batch), TURNS * VIEWS
        number = torch.arange(copies, device=z.device).repeat_interleave(len(batch))
        mine = torch.stack([number, *(getattr(keys, f).repeat(copies) for f in ("item", "group", "target"))], 1)
        number, item, group, target = (x[:, None] for x in mine.unbind(1))
        number_, item_, group_, target_ = run.gather(mine).unbind(1)
        everyone = run.gather(z)
        same_turn, inlier = number // VIEWS == number_ // VIEWS, (number < VIEWS) & (number_ < VIEWS)
        itself, own = (item == item_) & (number == number_), (item == item_) & same_turn
        if self._by == "labels":
            one_class, unknown = (target == target_) & (target >= 0), inlier & ((target < 0) | (target_ < 0))
        else:
            one_class, unknown = torch.full_like(inlier, self._by == "one"), torch.zeros_like(inlier)
        pos = (own | (inlier & one_class)) & ~itself
        against = pos | ~(itself | (same_turn & (group == group_)) | unknown)
        sim = z @ everyone.T
        log = sim / self.temperature - (sim / self.temperature).masked_fill(~against, -torch.inf).logsumexp(1)[:, None]
        weight = torch.ones_like(number_, dtype=z.dtype)
        if soft:
            near = torch.where(pos & inlier, (sim.detach() / self.weight_temperature).exp(), 0.0).sum(1)
            weight = torch.where(number_ < VIEWS, run.gather(near), 1.0)
        share = torch.where(pos, weight, 0.0)
        return -(torch.where(pos, log, 0.0) * share).sum(1).div(share.sum(1)).mean()
