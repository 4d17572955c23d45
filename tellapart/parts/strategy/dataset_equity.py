from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.looks import looks_of, shares
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.parts.strategy._proxies import laid_out
from tellapart.parts.strategy._weighed import check_rows, weighed_against


@part(
    paper="Shrivastava, Zhang, Nagesh, Parchami: DatasetEquity: Are All Samples Created Equal? In The Quest For Equity "
    "Within Datasets, ICCV Workshops 2023",
    place="train",
    system="dataset-equity",
    traits=("labels", "topics"),
    needs=("torch", "sklearn"),
)
class DatasetEquity(nn.Module):
    """Items of rare looks count more when classes are learnt, whatever their class.

    Formula, for item i whose look is that of the share p_i of all training items::

        w_i = (eta + (1 - p_i)^gamma) / (eta + 1)
        L   = mean_i w_i L_i

    L_i is the recipe's objective against the class vectors, as in `class-proxies`; the paper's are the losses of
    detectors. Looks are clusters of frozen vectors (`core.looks`), found once before training: a look may be rare
    within each class and all classes be even. Frozen vectors are those that the towers' heads get, or, where an encoder
    trains from pixels, those of the frozen encoder.

    Read in the authors' code: the formula, eta = 1, gamma = 5. Different from it: HDBSCAN of principal directions of
    unit vectors stands for k-means of a map by t-SNE, so that nothing has to be known of how many looks there are and a
    common look is one look; what belongs to no cluster is counted with the nearest.

    Args:
        eta: how much every item counts beside what it counts by its share. With gamma = 5 and looks of 96% and 4%,
            rare items count 1.8 times as much as common ones at 1, and 9 times at 0.1.
        gamma: how fast that falls with the share.

    When to use: labelled collections with looks that are rare (by night, scanned, drawn) and asked for as often as
    others; `tellapart curate DATA --find rare-looks` says whether there are any. Raises `PartError` without labels that
    several items share or frozen vectors, and for objectives that give one loss for all rows.

    Relations: where all items have one look it is `class-proxies`; `balanced-classes` evens out classes; `bias-loss`
    weighs by activations, `focal-supcon` by how sure the answer is.
    """

    share: Tensor
    weight: Tensor

    def __init__(
        self,
        *,
        eta: Annotated[float, Field(ge=0.001, le=1000)] = 1.0,
        gamma: Annotated[float, Field(ge=0, le=1000)] = 5.0,
    ) -> None:
        super().__init__()
        self.eta, self.gamma = eta, gamma

    def begin(self, run: Any) -> None:
        """Find the looks in the frozen vectors, weigh the items, and draw the class vectors."""
        check_rows(run, "dataset-equity")
        self.vectors, self._keys = laid_out(run, "dataset-equity")
        frozen = self._frozen(run)
        found = torch.from_numpy(looks_of(frozen.cpu().numpy(), seed=run.draw("looks of dataset-equity")))
        share = shares(run.gather(found.to(run.device))[: len(found)].cpu().numpy())
        self.register_buffer("share", torch.from_numpy(share).to(run.device, torch.float32))
        self.register_buffer("weight", (self.eta + (1 - self.share) ** self.gamma) / (self.eta + 1))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        sides = ["query"] if run.data.same_space else ["query", "document"]
        columns, weight = unit(self.vectors), self.weight[torch.from_numpy(batch).to(self.weight.device)]
        return {
            side: weighed_against(run, run.encode(side, batch), batch, columns, self._keys, weight) / len(sides)
            for side in sides
        }

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _frozen(self, run: Any) -> Tensor:
        """[n, width] unit frozen vectors of the items, both sides side by side where there are two."""
        data = run.data
        sides = [data.query] if data.same_space else [data.query, data.document]
        held = [side.batch(np.arange(len(data)), seed=None) for side in sides if not side.encodes]
        if not held and "topic_vectors" in data.extra:
            held = [torch.from_numpy(np.array(data.extra["topic_vectors"], dtype=np.float32))]
        if not held:
            raise PartError(
                "dataset-equity finds looks in frozen vectors, and none come with these items: use tellapart run"
            )
        return unit(torch.cat([unit(x) for x in held], 1))
