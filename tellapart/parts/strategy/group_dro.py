from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.parts.strategy._proxies import laid_out
from tellapart.parts.strategy._weighed import check_rows, weighed_against


@part(
    paper="Sagawa, Koh, Hashimoto, Liang: Distributionally Robust Neural Networks for Group Shifts, ICLR 2020",
    place="train",
    system="bias-keywords",
    traits=("labels", "subgroups"),
    needs=("torch",),
    aliases=("distributionally-robust",),
)
class GroupDro(nn.Module):
    """The worst group counts most: classes are learnt with the weights of groups that follow their losses.

    Groups g are pairs of a class and a subgroup; L_g is the mean over the items of g in the batch of the recipe's
    objective against class vectors, as in `class-proxies`. At every step::

        q_g <- q_g e^(step (L_g + adjust / sqrt(n_g))) / sum,   over all groups; those not in the batch: factor 1
        loss = sum_g q_g L_g

    with n_g the training items of g and q even at first. Subgroups come from `column`, or from `keywords`: which of
    these words a caption has, the first that it has, or none, as Zhao, Kumano and Yamasaki (Language-guided Detection
    and Mitigation of Unknown Dataset Bias, 2024) do with words that `bias-keywords` finds. Without both, each class is
    a group. What was taken: the update of the weights and the adjustment; the paper's strong weight decay is the
    recipe's to set. An item without a subgroup belongs to one of its own kind.

    Use it for labels that a cue beside the class goes with (a mark, a ground, a source), where the items against it are
    few and matter as much. The loss is computed once for each group in a batch: with dozens of groups it is slow.

    Args:
        column: of the collection, whose values are the subgroups; keywords: words with "|" between.
        step: how fast weights follow the losses; 0 weighs all groups evenly.
        adjust: how much more small groups count.

    Raises `PartError` without labels that several items share, and for objectives that give one loss for all rows.

    Relations: `class-proxies` weighs items evenly, `balanced-classes` draws classes evenly, `dataset-equity` weighs by
    looks.
    """

    group: Tensor
    q: Tensor

    def __init__(
        self,
        *,
        column: str = "",
        keywords: str = "",
        step: Annotated[float, Field(ge=0, le=10)] = 0.05,
        adjust: Annotated[float, Field(ge=0, le=100)] = 0.0,
    ) -> None:
        super().__init__()
        self.column, self.keywords, self.rate, self.adjust = column, keywords, step, adjust

    def begin(self, run: Any) -> None:
        """Number the groups, give them even weights, and draw the class vectors."""
        check_rows(run, "group-dro")
        self.vectors, self._keys = laid_out(run, "group-dro")
        target = run.data.keys.target.cpu().numpy()
        sub = np.asarray(run.data.extra.get("subgroup", np.zeros(len(target), np.int64)))
        cells, number, count = np.unique(np.stack([target, sub], 1), axis=0, return_inverse=True, return_counts=True)
        number = np.where(target >= 0, number.ravel(), -1)
        self.register_buffer("group", torch.from_numpy(number).to(run.device))
        self.register_buffer("q", torch.full((len(cells),), 1 / len(cells), device=run.device))
        more = self.adjust / np.sqrt(count)
        self._more = torch.from_numpy(more).to(run.device, torch.float32)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        sides = ["query"] if run.data.same_space else ["query", "document"]
        group = self.group[torch.from_numpy(batch).to(self.group.device)]
        z, columns = {side: run.encode(side, batch) for side in sides}, nn.functional.normalize(self.vectors, dim=1)
        present, losses = group[group >= 0].unique(), []
        for g in present.tolist():
            mine = (group == g).to(torch.float32)
            weight = mine * (group >= 0).sum() / mine.sum()
            each = [weighed_against(run, z[side], batch, columns, self._keys, weight) for side in sides]
            losses.append(torch.stack(each).mean())
        if not losses:
            return {"worst groups": sum(v.sum() for v in z.values()) * 0 + columns.sum() * 0}
        found = torch.stack(losses)
        with torch.no_grad():
            self.q[present] *= torch.exp(self.rate * (found.detach().to(self.q.dtype) + self._more[present]))
            self.q /= self.q.sum()
        return {"worst groups": (self.q[present] * found).sum()}

    def after(self, run: Any) -> None:
        """Nothing to keep."""
