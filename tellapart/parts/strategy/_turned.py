"""Items turned until they stand for anomalies, and what the stages of a network give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.errors import PartError


class Turned(nn.Module):
    """Square pictures turned by quarters, or vectors by fixed random rotations about their mean.

    Args:
        x: some inputs of a tower. turns: of how many forms, with the first, which is left as it is.
    """

    def __init__(self, run: Any, x: Tensor, turns: int) -> None:
        super().__init__()
        if not x.is_floating_point() or x.ndim not in (2, 4) or (x.ndim == 4 and x.shape[2] != x.shape[3]):
            raise PartError(
                f"strategy={run.recipe.strategy} turns square pictures or vectors, and these are neither: set tune=head"
            )
        if x.ndim == 4:
            return
        draw = torch.Generator().manual_seed(run.draw("turns"))
        drawn = torch.randn(turns - 1, x.shape[1], x.shape[1], generator=draw)
        self.register_buffer("rotation", torch.linalg.qr(drawn)[0].to(run.device))
        everything = run.data.query.batch(np.arange(len(run.data)), seed=None)
        self.register_buffer("middle", everything.mean(0).to(run.device))

    def forward(self, x: Tensor, turn: int) -> Tensor:
        """Inputs of the same shape."""
        if x.ndim == 4:
            return x.rot90(turn, (2, 3))
        return x if turn == 0 else (x - self.middle) @ self.rotation[turn - 1] + self.middle


def upto(run: Any, stage: int, last: int) -> nn.Module:
    """The tower, or for a stage before the last the tower up to one of its blocks, which are spread evenly."""
    tower: nn.Module = run.towers["query"]
    if stage == last:
        return tower
    blocks = next((list(m) for m in tower.modules() if isinstance(m, nn.ModuleList)), [])
    if len(blocks) <= last or not hasattr(run.data.query, "augment"):
        raise PartError(
            f"strategy={run.recipe.strategy} needs an encoder that is trained and has more than {last} blocks for its "
            f"weaker augmentations, and here are {len(blocks)}: set tune=full and image=small-cnn, or leave them out"
        )
    return _Upto(tower, blocks[(stage + 1) * len(blocks) // (last + 1) - 1])


class _Upto(nn.Module):
    """What a block inside a network gives, averaged over places."""

    def __init__(self, network: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.network, self.block = network, block

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels]."""
        held: list[Tensor] = []
        hook = self.block.register_forward_hook(lambda module, given, found: held.append(found))
        self.network(x)
        hook.remove()
        return held[-1].mean((2, 3))
