from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.coverage import covering_classes
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.parts.strategy._proxies import laid_out
from tellapart.parts.strategy._weighed import check_rows, weighed_against


@part(
    paper="Liu, Mirzasoleiman: Data-Efficient Augmentation for Training Neural Networks, NeurIPS 2022",
    place="train",
    system="data-efficient-aug",
    traits=("labels", "views"),
    needs=("torch",),
)
class DataEfficientAug(nn.Module):
    """All items as they are, and altered copies of a few that stand for the others.

    Formula, every `refresh` epochs, with unit vectors z_i of the items and v_c of the classes::

        g_i = softmax_c(z_i . v_c / temperature) - onehot(y_i)
        S   = within each class, greedily, `share` of its items that maximise
              sum_i max_{j in S} (max_kl |g_k - g_l| - |g_i - g_j|)
        w_j = number of items that j in S is nearest to, divided by the mean of these numbers
        L   = (mean_i L(x_i) + share mean_{j in S} w_j L(altered x_j)) / (1 + share)

    g is the gradient of the last layer; the means are over a batch, L the recipe's objective against vectors of the
    classes, as in `class-proxies`. What the items of S teach by their altered copies is then near to what all would.

    Read in the authors' code: distances, greedy choice within classes, weights of mean 1, all items beside the altered
    ones. Different from it: every class gives the same share of its items, where their default is the same number;
    altered items are a further term, so that a batch has as many rows as it was asked to have, and more of them by
    those in S; the network's answers are cosines, over a temperature that should be the objective's.

    Args:
        share: of the items that are altered. 1: all.
        refresh: epochs after which S is chosen anew, which takes a pass over all items and n_c^2 distances a class.
        temperature: of the answers by which g is told.

    When to use: alterations that cost much (large pictures, several of them in a row), and labels. Raises `PartError`
    without labels that several items share, and for objectives that give one loss for all rows.

    Expect less than of altering all: in its evidence 30% of the items reach about three quarters of that gain. Under
    wrong labels altering all stays better, too, where the paper found the opposite.

    Relations: with nothing altered it is `class-proxies`.
    """

    weight: Tensor
    when: Tensor

    def __init__(
        self,
        *,
        share: Annotated[float, Field(gt=0, le=1)] = 0.3,
        refresh: Annotated[int, Field(ge=1, le=100_000)] = 1,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
    ) -> None:
        super().__init__()
        self.share, self.refresh, self.temperature = share, refresh, temperature

    def begin(self, run: Any) -> None:
        """Draw the class vectors."""
        check_rows(run, "data-efficient-aug")
        self.vectors, self._keys = laid_out(run, "data-efficient-aug")
        self.register_buffer("weight", torch.zeros(len(run.data), device=run.device))
        self.register_buffer("when", torch.tensor(-1))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        if int(self.when) != run.epoch // self.refresh:
            self.weight.copy_(self.chosen(run))
            self.when.fill_(run.epoch // self.refresh)
        columns, ones = unit(self.vectors), self.weight.new_ones(len(batch))
        plain = weighed_against(run, run.encode("query", batch, altered=False), batch, columns, self._keys, ones)
        held = self.weight[torch.from_numpy(batch).to(self.weight.device)]
        # Of a batch without any chosen item one is altered for nothing: all processes take part in a mean.
        some = np.flatnonzero(held.cpu().numpy()) if bool(held.any()) else np.array([0])
        weight, rows = held[torch.from_numpy(some).to(held.device)], batch[some]
        altered = weighed_against(run, run.encode("query", rows), rows, columns, self._keys, weight)
        return {"as they are": plain / (1 + self.share), "altered": altered * (self.share / (1 + self.share))}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    @torch.no_grad()
    def chosen(self, run: Any) -> Tensor:
        """[n] weights of all items, of mean 1 over those that are altered, 0 for the others."""
        target, classes = run.data.keys.target, self._keys.target
        known = np.flatnonzero((target >= 0).numpy())
        code = torch.searchsorted(classes, target[known])
        answers = (run.encode_all("query")[known] @ unit(self.vectors).T / self.temperature).softmax(1).cpu()
        gradient = answers - nn.functional.one_hot(code, len(classes))
        rows, held = covering_classes(
            gradient.numpy(), code.numpy(), max(1, round(self.share * len(known))), seed=run.draw("pieces of classes")
        )
        weight = torch.zeros(len(target))
        weight[torch.from_numpy(known[rows])] = torch.from_numpy(held / held.mean()).float()
        return weight.to(run.device)
