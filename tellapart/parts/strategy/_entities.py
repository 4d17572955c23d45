"""Who shares an entity with whom, and another record of the same entity, drawn anew at every step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tellapart.core.draws import RowDraws
from tellapart.core.relation import Keys


class Members:
    """The rows of each entity.

    Args:
        keys: identities of all rows; a `target` of -1 is no entity.

    Attributes:
        paired: [n] bool, rows whose entity has another row.
    """

    def __init__(self, keys: Keys) -> None:
        self.item, target = keys.item, keys.target
        self.order = target.argsort(stable=True)
        self.place = self.order.argsort()
        self.start = torch.searchsorted(target[self.order], target)
        self.count = torch.searchsorted(target[self.order], target, right=True) - self.start
        self.paired: Tensor = (self.count > 1) & (target >= 0)

    def partners(self, batch: np.ndarray, seed: int) -> np.ndarray:
        """[n] another row of the same entity for each of the batch, all as likely; the row itself where none is."""
        rows = torch.from_numpy(batch)
        start, count = self.start[rows], self.count[rows]
        chance = RowDraws(seed, self.item[rows]).uniform(1)[:, 0]
        step = 1 + torch.minimum((chance * (count - 1)).long(), (count - 2).clamp_min(0))
        other = self.order[start + (self.place[rows] - start + step) % count]
        found: np.ndarray = torch.where(self.paired[rows], other, rows).numpy()
        return found
