"""Pairs divided into clean and wrong ones by their losses, anew every epoch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.divided import clean_probability
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.core.relation import Relation

BLOCK = 1024


@part(
    paper="Qin, Chen, Peng, Peng, Zhou, Hu: Noisy-Correspondence Learning for Text-to-Image Person Re-identification, "
    "CVPR 2024",
    place="train",
    system="rde",
    traits=("two-sides",),
    needs=("torch",),
    aliases=("confident-consensus-division", "noisy-correspondence"),
)
class Rde(nn.Module):
    """Two towers that learn from the pairs whose loss is among the small ones.

    Formula. From epoch `warm_up` on, before each epoch and for each of `heads` pairs of towers::

        l_i = loss of pair i under the recipe's objective, summed over the directions that are trained,
              among the pairs of a random block of 1024
        P_i = probability of the component of lower mean, of two normal distributions fitted to the l (`core.divided`)
        clean_i = P_i > `surely`;   with two heads: both say so, or they differ and a coin drawn anew says so
        loss = sum over heads of the mean of l_i over the batch's pairs with clean_i = 1

    A pair that is not clean has no positive of its own in that epoch; its two items stay negatives of the others. Wrong
    pairs are learnt late, so that their losses are still large when those of right ones have fallen.

    Read in the authors' code: losses before each epoch, scaled to [0, 1], the mixture, 0.5, consensus and coin, and
    the mask as a weight of each row. Different: `warm_up`, since their towers are CLIP's, whose losses tell from the
    start, and new ones' do not; the mean over clean rows in place of the sum; losses in evaluation mode in blocks of
    1024 pairs in place of batches; one mixture, where theirs is set by the share of wrong pairs, which they know; none
    is left out where none is told, where they drop a hundredth. Their second head selects tokens by attention; here it
    is a second pair of towers whose matrices begin as the first ones' with entries in another order, trained beside and
    then left behind.

    Args:
        warm_up: epochs that learn from all pairs. surely: the least probability of a pair that is learnt from.
        heads: 2 costs twice as much.

    When to use: pairs scraped or joined by a key, of which many may be wrong and nobody has looked; a gain is shown at
    30% and 50%. It goes with any objective that has a loss for each row; `triplet-alignment` is the paper's.

    Raises `PartError` for data of one side, fewer than 8 pairs, and an objective with one loss for a whole batch.

    Relations: `two-tower` is this without the division; `misfit-captions` looks for wrong pairs before training.
    """

    clean: Tensor
    divided: Tensor

    def __init__(
        self,
        *,
        warm_up: Annotated[int, Field(ge=0, le=10_000)] = 2,
        surely: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        heads: Annotated[int, Field(ge=1, le=2)] = 1,
    ) -> None:
        super().__init__()
        self.warm_up, self.surely, self.heads = warm_up, surely, heads

    def begin(self, run: Any) -> None:
        """All pairs are clean until they are divided."""
        if run.data.same_space:
            raise PartError("rde looks for wrong pairs, and these items have one side; give pairs of two columns")
        if len(run.data) < 8:
            raise PartError(f"rde divides pairs by their losses, and {len(run.data)} are too few: give 8 or more")
        if run.chain.reduces:
            raise PartError(f"rde needs the loss of each pair; {run.recipe.objective} has one for a whole batch")
        self.register_buffer("clean", torch.ones(len(run.data), dtype=torch.bool, device=run.device))
        self.register_buffer("divided", torch.tensor(-1))
        if self.heads == 2:
            self.second = copy.deepcopy(run.towers)
            draw = torch.Generator().manual_seed(run.draw("second head of rde"))
            with torch.no_grad():
                for x in self.second.parameters():
                    order = torch.randperm(x.numel(), generator=draw).to(x.device)
                    x.copy_(x.flatten()[order].view_as(x) if x.ndim > 1 else x)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n], by name."""
        if run.epoch >= self.warm_up and run.epoch != int(self.divided):
            self.clean.copy_(self._divide(run))
            self.divided.fill_(run.epoch)
        clean = self.clean[torch.from_numpy(batch).to(self.clean.device)]
        losses = {}
        for name, towers in self._towers(run).items():
            q, k = (run.encode(side, batch, tower=towers[side]) for side in ("query", "document"))
            ways = {"query": run.pairing(q, k, batch)}
            if run.recipe.both_ways:
                ways["document"] = run.pairing(k, q, batch, reverse=True)
            for side, pairs in ways.items():
                losses[name + side] = run.contrast(_only(clean, pairs)) / len(ways)
        return losses

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _towers(self, run: Any) -> dict[str, nn.ModuleDict]:
        return {"": run.towers, "second ": self.second} if self.heads == 2 else {"": run.towers}

    @torch.no_grad()
    def _divide(self, run: Any) -> Tensor:
        """[n] bool, which of the training pairs are learnt from in this epoch."""
        order = np.random.default_rng(run.draw("blocks of rde")).permutation(len(run.data))
        blocks = np.array_split(order, -(-len(order) // BLOCK))
        sure = []
        for towers in self._towers(run).values():
            training = towers.training
            towers.eval()
            losses = torch.zeros(len(order), dtype=torch.float64)
            for rows in blocks:
                losses[torch.from_numpy(rows)] = self._losses(run, towers, rows).double().cpu()
            towers.train(training)
            sure.append(torch.from_numpy(clean_probability(losses.numpy()) > self.surely))
        coin = torch.rand(len(order), generator=torch.Generator().manual_seed(run.draw("coin of rde"))) < 0.5
        return torch.where(sure[0] == sure[-1], sure[0], coin)

    def _losses(self, run: Any, towers: nn.ModuleDict, rows: np.ndarray) -> Tensor:
        """[n] losses of some pairs among each other."""
        inputs = (run.data.side(side).batch(rows, seed=None).to(run.device) for side in ("query", "document"))
        q, k = (run.through(towers[side], x) for side, x in zip(("query", "document"), inputs, strict=True))
        keys = run.keys(rows)
        ways = [(q, k), (k, q)] if run.recipe.both_ways else [(q, k)]
        found = [run.chain.objective(Encoded(a, b, Relation.of_keys(keys, keys)), **run.options()) for a, b in ways]
        return torch.stack(found).sum(0)


def _only(clean: Tensor, pairs: Any) -> Any:
    """A pairing in which rows that are not clean have no positive, and so no loss."""
    keys = pairs.row_keys
    return replace(pairs, row_keys=replace(keys, target=torch.where(clean, keys.target, -1)))
