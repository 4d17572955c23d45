"""Composed queries in two stages: against the batch, then against every picture, whose vectors stand still."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.parts.strategy._composer import (
    REFERENCE,
    Gated,
    check_composed,
    contrast,
    found_among,
    made,
    pictures,
    triplets,
)


@part(
    paper="Feng, Zhang, Nie: Improving Composed Image Retrieval via Contrastive Learning with Scaling Positives and "
    "Negatives, ACM Multimedia 2024",
    place="train",
    system="spn4cir",
    traits=("sides", "composed"),
    needs=("torch",),
)
class Spn4cir(nn.Module):
    """Composed queries learn against the batch, then against all pictures at once, whose tower has stopped learning.

    Formula, for queries q_i composed of reference r_i and words t_i as in `combiner`, in the share `first` of all steps

        L = mean_i l(q_i; right: z_i; wrong: the other targets of the batch)

    and from then on, with b_1, ..., b_P the vectors of all P pictures of training, targets and references, each once,
    as the tower made them at that step

        L = mean_i l(q(b_ref(i), t_i); right: b_target(i); wrong: every other b)

    with l the recipe's objective; the paper's is the softmax at 0.01, `objective=infonce(temperature=0.01)`. In the
    second stage the tower of the pictures gets no gradient; the tower of the words and the module learn on. So every
    picture is a negative, the query's own reference too, without a picture being encoded.

    Scaling positives, the other half of the paper, is a function that makes rows: `tellapart.data.triplets.mined`
    writes "instead of A, B" for pairs of pictures of moderate similarity with captions A and B; captions come with the
    data or from any callable. The paper has them written by a large model; there is none here.

    What differs from the paper: one schedule of the learning rate runs through both stages (there each has its own);
    all right pictures of a question are right in both stages (there one is); r stands still in the second stage, too.
    Read in the authors' code: the bank of all targets under a frozen encoder, 0.01, references and further pictures as
    more negatives. How similar the pairs of the first half are to be was not found: see `mined`.

    Use it where there are more pictures than a batch holds, which is nearly always; P x d numbers are kept, and a step
    compares with P pictures. Weights may only be averaged (`average`) over steps of the second stage.

    Args:
        hidden: width of the hidden layer of the module.
        first: share of the steps that belong to the first stage.

    Raises `PartError` for data without references, with a guide, and for an `average` that reaches into the first
    stage.

    Relations: `combiner` is the first stage alone; `magiclens` has the references of the batch as negatives.
    """

    joins = "composer"
    bank: Tensor
    filled: Tensor

    def __init__(
        self, *, hidden: Annotated[int, Field(ge=1, le=8192)] = 512, first: Annotated[float, Field(gt=0, lt=1)] = 0.5
    ) -> None:
        super().__init__()
        self.hidden, self.first = hidden, first

    def begin(self, run: Any) -> None:
        """Make the module and room for the vectors of all pictures."""
        check_composed(run, "spn4cir")
        if run.recipe.average > 1 - self.first:
            raise PartError(
                f"average={run.recipe.average} would mix weights from before the pictures stood still: give at most "
                f"{1 - self.first:g}, or a smaller `first`"
            )
        self.composer = made(run, lambda: Gated(run.dim(), self.hidden))
        self.register_buffer("bank", torch.zeros(len(run.data.extra["picture_group"]), run.dim()))
        self.register_buffer("filled", torch.zeros((), dtype=torch.bool))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        if run.step < round(self.first * run.steps):
            found = triplets(run, batch)
            return {"in batch": contrast(run, batch, self.composer(found.r, found.t, found.there), found.z)}
        if not self.filled:
            self._fill(run)
        own = pictures(run, batch)[:, 1]
        q = self.composer(self.bank[own.clamp_min(0)], run.encode("query", batch), own >= 0)
        enc = found_among(run, batch, q, self.bank, torch.arange(len(self.bank), device=q.device))
        return {"all pictures": run.loss_of(enc, run.keys(batch).item)}

    @torch.no_grad()
    def _fill(self, run: Any) -> None:
        targets, references = pictures(run, np.arange(len(run.data))).unbind(1)
        self.bank[references[references >= 0]] = run.encode_all(REFERENCE)[references >= 0]
        self.bank[targets] = run.encode_all("document")
        self.filled.fill_(True)

    def after(self, run: Any) -> None:
        """Nothing to keep."""
