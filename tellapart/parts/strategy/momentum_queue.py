from __future__ import annotations

import copy
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.core.relation import Keys


@part(
    paper="(plain baseline; He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020)",
    place="train",
    needs=("torch",),
    aliases=("moco",),
)
class MomentumQueue(nn.Module):
    """Negatives from a queue of past documents, encoded by a slowly moving copy of the tower.

    Each tower has a copy with weights `copy = momentum * copy + (1 - momentum) * tower`. Rows are the towers' vectors;
    columns are the copies' vectors of this batch and of the last `size` items. A queued vector of an item of the row's
    own duplicate group is ignored, never a negative.

    Args:
        size: vectors in the queue; at most the collection is of use.
        momentum: share of the copy that stays at every step.

    When to use: batches are small (memory) and negatives should be many. Relations that need a guide do not go with
    it, since the queue keeps no guide's vectors. `mochi` mixes harder negatives out of the queue.
    """

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=1, le=10_000_000)] = 4096,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        self.size, self.momentum = size, momentum

    def begin(self, run: Any) -> None:
        """Copy the towers and lay out empty queues."""
        self.copies = copy.deepcopy(run.towers).requires_grad_(False)
        self.size = min(self.size, len(run.data))
        for side in ("query", "document"):
            self.register_buffer(f"{side}_queue", torch.zeros(self.size, run.dim()))
        self.register_buffer("queue_keys", torch.full((self.size, 2), -1, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]; what is to be queued waits for `after`."""
        sides = ["query", "document"] if run.recipe.both_ways and not run.data.same_space else ["query"]
        self._new: dict[str, Tensor] = {}
        losses = {}
        for side in sides:
            other = "document" if side == "query" else "query"
            with torch.no_grad():
                k = run.encode(other, batch, tower=self.copies[other])
            self._new[other] = k
            pairs = run.pairing(run.encode(side, batch), k, batch, reverse=side == "document")
            held = int(min(self.seen, self.size))
            item, group = self.queue_keys[:held].T
            bank_keys = Keys(item, group, torch.full_like(item, -1))
            pairs = replace(pairs, bank=getattr(self, f"{other}_queue")[:held], bank_keys=bank_keys)
            losses[side] = run.contrast(pairs) / len(sides)
        self._keys = run.keys(batch)
        return losses

    @torch.no_grad()
    def after(self, run: Any) -> None:
        """Move the copies towards the towers and put the batch into the queues, over the oldest entries."""
        for copied, trained in zip(self.copies.parameters(), run.towers.parameters(), strict=True):
            copied.lerp_(trained, 1 - self.momentum)
        for copied, trained in zip(self.copies.buffers(), run.towers.buffers(), strict=True):
            copied.copy_(trained)
        keys = torch.stack([run.gather(self._keys.item), run.gather(self._keys.group)], 1)[-self.size :]
        place = (self.seen + torch.arange(len(keys), device=keys.device)) % self.size
        self.queue_keys[place] = keys
        for side, vectors in self._new.items():
            getattr(self, f"{side}_queue")[place] = run.gather(vectors)[-self.size :]
        self.seen += len(keys)
