from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Keys
from tellapart.parts.strategy._views import check_altered, copies

OWN = 1 << 40


@part(
    paper="Ji, Luo, Bao, Culpepper: Robust Table Integration in Data Lakes, arXiv 2024",
    place="pairs",
    system="table-integration",
    traits=("views",),
    needs=("torch",),
    aliases=("adversarial-views",),
)
class TableIntegration(nn.Module):
    """Spoilt copies of a row attract each other, also where its vector was moved against that; other rows are repelled.

    Formula, with z the unit vectors of `views` altered copies of every row of the batch, L(q, k) the recipe's objective
    of rows q against columns k, and |x| the vector of length 1::

        g    = the gradient of L(z, z) by z, as rows and columns, less what of it points along z; a constant
        z'   = | z + `radius` |g| |                      the copies, moved to where the loss rises fastest
        loss = L(z, z) + `weight` L(z', z)

    Positives of a copy are the other copies of its row, and those of rows with the same label: so a few labels of one's
    own, a row in two tables, count beside what teaches itself. Its negatives are the copies of all other rows that are
    no duplicates. `weight=0` is contrastive learning alone.

    What was taken: positives by altering a tuple, negatives from other tuples, a contrastive loss and adversarial
    examples of the embeddings on which is trained beside it. How the paper perturbs could not be verified: one
    normalised step along the gradient is the usual form. It tunes a language model and a classifier of pairs above it;
    here a head is trained above frozen vectors and the cosine, calibrated on labelled pairs by `tellapart link`, is
    the classifier, so that candidates are found by an index. The step is taken on the vectors that are compared.

    Args:
        radius: the length of the step, on vectors of length 1.
        weight: of the loss of what was moved; 0: none.
        views: copies of a row in a step.

    When to use: `tellapart link A B --learn NAME`, or one column of texts with `augment=spoil-row` and any run; only
    after a look at what the frozen cosine gives. In our record learning gained nothing over it on names, and lost where
    rows had glosses; adversarial steps showed no difference to none. Known pairs of a fifth of the things helped there.

    Raises `PartError` for pairs of two sides, and where nothing alters the rows.

    Relations: `multi-view` is `weight=0` without labels; `claps` moves columns for pairs; `clippings` is for records
    with pictures.
    """

    def __init__(
        self,
        *,
        radius: Annotated[float, Field(gt=0, le=10)] = 0.3,
        weight: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        views: Annotated[int, Field(ge=2, le=16)] = 2,
    ) -> None:
        super().__init__()
        self.radius, self.weight, self.views = radius, weight, views

    def begin(self, run: Any) -> None:
        """See that there is something to compare."""
        check_altered(run, "table-integration", "clippings")

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        z = torch.cat(copies(run, batch, self.views))
        losses = {"views": self._loss(run, z, z, batch)}
        if self.weight:
            losses["adversarial"] = self.weight * self._loss(run, self._moved(run, z, batch), z, batch)
        return losses

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _moved(self, run: Any, z: Tensor, batch: np.ndarray) -> Tensor:
        """[n, d] the copies after one step of the length `radius` that makes the loss rise."""
        with torch.enable_grad():
            at = z.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self._loss(run, at, at, batch), at)
        slope = slope - (slope * at.detach()).sum(1, keepdim=True) * at.detach()
        return unit(z + self.radius * unit(slope))

    def _loss(self, run: Any, q: Tensor, k: Tensor, batch: np.ndarray) -> Tensor:
        """The recipe's objective of copies against copies, a column standing for a row of the same place."""
        pairs = run.pairing(q, k, np.tile(batch, self.views))
        known = pairs.row_keys
        view = torch.arange(self.views, device=q.device).repeat_interleave(len(batch))
        # A row without a label has one of its own, which is no other row's.
        target = torch.where(known.target >= 0, known.target, OWN + known.item)
        keys = Keys(known.item * self.views + view, known.group, target)
        return torch.as_tensor(run.contrast(replace(pairs, row_keys=keys, col_keys=keys, own=None, own_neg=None)))
