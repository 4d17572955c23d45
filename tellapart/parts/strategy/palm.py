from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.sinkhorn import balanced_assignment

ROUNDS = 3
TINY = torch.finfo(torch.float32).tiny


@part(
    paper="Lu, Gong, Wang, Xue, Yao, Moore: Learning with Mixture of Prototypes for Out-of-Distribution Detection, "
    "ICLR 2024",
    place="train",
    system="palm",
    traits=("labels",),
    needs=("torch",),
    aliases=("mixture-of-prototypes",),
)
class Palm(nn.Module):
    """Every class has several prototypes; items gather about those of their own class that they are nearest to.

    Formula, for unit vectors z_i of the batch with labels y_i, unit prototypes p_j of classes c_j, K of each::

        Q   = balanced assignment of z . p (Sinkhorn, `epsilon`, three rounds); no gradient
        u_i = Q_i where c_j = y_i, its `k` largest, divided by their sum          [prototypes]
        p_j <- unit( momentum p_j + (1 - momentum) sum_i u_ij z_i / sum_i u_ij )
        w_i = Q anew, of the new prototypes, at the same k places, divided by their sum
        mle      = mean_i  - sum_j w_ij z_i . p_j / temperature + log sum_j exp(z_i . p_j / temperature)
        contrast = mean_j  - mean over others j' of its class of p_j . p_j' / T + log sum_{j' != j} exp(p_j . p_j' / T)
        loss     = mle + weight * contrast,  T = `prototype_temperature`

    In `mle` the prototypes are constants; in `contrast` the batch's share of each is not, so that its gradient reaches
    the towers through the last update. A prototype to which no item went stays. With K = 1 every item has the one
    prototype of its class, `mle` is the softmax over class prototypes and `contrast`, which then has no others of its
    class, drives those apart: the compactness and dispersion of CIDER (Ming et al., ICLR 2023) but for a constant.

    Read in the authors' code: all of the above, the order of update and loss, the places that are kept from the first
    assignment, temperatures 0.1 and 0.5, epsilon 0.05, three rounds, 6 prototypes a class, k = 5. It starts from
    numbers drawn evenly from [0, 1), all in one corner of the sphere; here from directions of normal numbers. Its two
    views of an item are here the two sides of a pair, or one vector where both sides are one column. Its prototypes
    stand above a projection that is left behind when items are scored; here the vectors are those compared. Labels are
    needed: the paper's extension without them is not part of this.

    Args:
        prototypes: K, of every class. k: prototypes that an item may go to, at most K.
        momentum: of a prototype at each step; the paper has 0.99 to 0.999 for hundreds of thousands of steps.
        weight: of the contrast; 0: none.

    When to use: labelled items of which some are to be found that belong to no class; compare it with one prototype a
    class first, from which no difference is shown, also where classes hold several kinds. Score afterwards with
    `mahalanobis-ood` or `knn` on the vectors: `tellapart detect RUN DATA`. The recipe's objective is not used; nor are
    guides and mined negatives.

    Raises `PartError` for fewer than two classes.

    Relations: `class-proxies` learns one vector a class by gradient; `swav` has prototypes without labels; `supcon`
    pulls items of a class to each other.
    """

    vectors: Tensor
    of_class: Tensor

    def __init__(
        self,
        *,
        prototypes: Annotated[int, Field(ge=1, le=1000)] = 6,
        k: Annotated[int, Field(ge=1, le=1000)] = 5,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        epsilon: Annotated[float, Field(gt=0, le=100)] = 0.05,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        weight: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        prototype_temperature: Annotated[float, Field(gt=0, le=100)] = 0.5,
    ) -> None:
        super().__init__()
        self.prototypes, self.k, self.temperature, self.epsilon = prototypes, k, temperature, epsilon
        self.momentum, self.weight, self.prototype_temperature = momentum, weight, prototype_temperature

    def begin(self, run: Any) -> None:
        """Draw the prototypes of every class."""
        target = run.data.keys.target
        classes = target[target >= 0].unique()
        if len(classes) < 2:
            raise PartError(f"palm tells classes apart, and these rows have {len(classes)}: give a column of labels")
        if run.data.same_space and int(target[target >= 0].bincount().max()) < 2:
            raise PartError("palm needs labels that several items share, and here every label appears once")
        draw = torch.Generator().manual_seed(run.draw("prototypes of palm"))
        self.register_buffer("vectors", unit(torch.randn(len(classes) * self.prototypes, run.dim(), generator=draw)))
        self.register_buffer("of_class", classes.repeat_interleave(self.prototypes))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]; what becomes of the prototypes waits for `after`."""
        sides = ["query"] if run.data.same_space else ["query", "document"]
        # Assignment and update are of the rows of all processes, and so is the loss, which all compute alike.
        z = torch.cat([run.gather(run.encode(side, batch)) for side in sides])
        own = run.gather(run.keys(batch).target).repeat(len(sides))[:, None] == self.of_class
        z, own = z[own.any(1)], own[own.any(1)]
        first = self._assigned(z, self.vectors) * own
        kept = torch.zeros_like(first).scatter_(1, first.topk(min(self.k, self.prototypes), dim=1).indices, 1.0)
        share = _shares(first * kept, 1)
        found = share.sum(0)[:, None] > 0
        centre = torch.where(found, _shares(share, 0).T @ z, self.vectors)
        moved = unit(self.momentum * self.vectors + (1 - self.momentum) * centre)
        self._moved = moved.detach()
        weights = _shares(self._assigned(z, self._moved) * own * kept, 1)
        logits = z @ self._moved.T / self.temperature
        losses = {"mle": (logits.logsumexp(1) - (weights * logits).sum(1)).sum() / max(len(z), 1)}
        if self.weight:
            losses["contrast"] = self.weight * self._apart(moved)
        return losses

    @torch.no_grad()
    def after(self, run: Any) -> None:
        """Move the prototypes."""
        self.vectors.copy_(self._moved)

    def _assigned(self, z: Tensor, vectors: Tensor) -> Tensor:
        """[n, prototypes] shares of items in prototypes of all classes."""
        return balanced_assignment(z @ vectors.T, epsilon=self.epsilon, rounds=ROUNDS)

    def _apart(self, p: Tensor) -> Tensor:
        """The contrast of prototypes with those of their own class and of the others."""
        itself = torch.eye(len(p), dtype=torch.bool, device=p.device)
        logits = p @ p.T / self.prototype_temperature
        same = _shares(((self.of_class[:, None] == self.of_class) & ~itself).float(), 1)
        return (logits.masked_fill(itself, -torch.inf).logsumexp(1) - (same * logits).sum(1)).mean()


def _shares(x: Tensor, dim: int) -> Tensor:
    """Divided by its sum along a dimension; zero where that is zero."""
    return x / x.sum(dim, keepdim=True).clamp_min(TINY)
