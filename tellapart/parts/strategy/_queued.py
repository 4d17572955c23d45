"""Slow copies of the towers and queues of past vectors: what the strategies with a memory share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.core.relation import Keys


class Copies(nn.Module):
    """A copy of every tower, `copy = momentum * copy + (1 - momentum) * tower` at every `move`."""

    def __init__(self, towers: nn.ModuleDict, momentum: float) -> None:
        super().__init__()
        self.towers, self.momentum = copy.deepcopy(towers).requires_grad_(False), momentum

    def __getitem__(self, side: str) -> nn.Module:
        return self.towers[side]

    @torch.no_grad()
    def move(self, towers: nn.ModuleDict) -> None:
        """Go towards the towers; what is no weight is taken as it is."""
        for copied, trained in zip(self.towers.parameters(), towers.parameters(), strict=True):
            copied.lerp_(trained, 1 - self.momentum)
        for copied, trained in zip(self.towers.buffers(), towers.buffers(), strict=True):
            copied.copy_(trained)


class Queues(nn.Module):
    """The last `size` vectors of several kinds, with the identities of their items; the oldest go first.

    Args:
        names: of the kinds.
    """

    def __init__(self, names: tuple[str, ...], size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        for name in names:
            self.register_buffer(name, torch.zeros(size, dim))
        self.register_buffer("keys", torch.full((size, 2), -1, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return int(min(self.seen, self.size))

    def of(self, name: str) -> Tensor:
        """[held, d] vectors of a kind."""
        held: Tensor = getattr(self, name)[: len(self)]
        return held

    def behind(self, pairs: Any, name: str) -> Any:
        """A pairing with the queued vectors of a kind as further columns; an item's own group is ignored there."""
        item, group = self.keys[: len(self)].T
        return replace(pairs, bank=self.of(name), bank_keys=Keys(item, group, torch.full_like(item, -1)))

    @torch.no_grad()
    def put(self, vectors: Mapping[str, Tensor], keys: Keys, run: Any) -> Tensor:
        """Take in a batch: [n, d] vectors of every kind and their items, those of all processes; gives their places."""
        said = torch.stack([run.gather(keys.item), run.gather(keys.group)], 1)[-self.size :]
        place = (self.seen + torch.arange(len(said), device=said.device)) % self.size
        self.keys[place] = said
        for name, x in vectors.items():
            getattr(self, name)[place] = run.gather(x.detach())[-self.size :]
        self.seen += len(said)
        return place
