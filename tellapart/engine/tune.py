"""Low-rank additions to the linear maps of an encoder, trained in its stead and merged back afterwards."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from tellapart.core.errors import PartError, near

ATTENTION = ("*query", "*key", "*value")


class LowRank(nn.Module):
    """W x + b + (alpha / rank) B A x with W and b frozen; B begins at zero, so nothing changes before training.

    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022. A convolution over single points is the
    same linear map at every point.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        outside, inside = layer.weight.shape[:2]
        self.down = nn.Parameter(torch.empty(rank, inside, dtype=layer.weight.dtype))
        self.up = nn.Parameter(torch.zeros(outside, rank, dtype=layer.weight.dtype))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.factor = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if isinstance(self.layer, nn.Conv2d):
            low = nn.functional.conv2d(x, self.down[:, :, None, None], stride=self.layer.stride)
            added = nn.functional.conv2d(low, self.up[:, :, None, None])
        else:
            added = nn.functional.linear(nn.functional.linear(x, self.down), self.up)
        return self.layer(x) + self.factor * added

    @torch.no_grad()
    def merged(self) -> nn.Linear | nn.Conv2d:
        """The one layer that does the same."""
        self.layer.weight += self.factor * (self.up @ self.down).view_as(self.layer.weight)
        return self.layer.requires_grad_(True)


def lora(
    module: nn.Module, rank: int = 8, alpha: float = 16.0, targets: Sequence[str] = ATTENTION
) -> list[nn.Parameter]:
    """Freeze a module and put low-rank additions beside its linear maps; gives the parameters to be trained.

    Args:
        module: changed in place; `merge` undoes it.
        rank: of the additions; alpha / rank is their factor.
        targets: patterns of the dotted names of linear layers, or of convolutions over single points, such as `*query`.

    Raises:
        PartError: a pattern that no linear layer matches, or additions that are there already.
    """
    if rank < 1:
        raise PartError(f"the rank of low-rank additions is at least 1, not {rank}")
    if any(isinstance(m, LowRank) for m in module.modules()):
        raise PartError("this module has low-rank additions already; merge them first")
    linears = {name: m for name, m in module.named_modules() if _is_linear(m)}
    for pattern in targets:
        if not fnmatch.filter(linears, pattern):
            raise PartError(f"no linear layer is named like {pattern!r}; {near(pattern, linears)}")
    module.requires_grad_(False)
    chosen = {name: m for name, m in linears.items() if any(fnmatch.fnmatchcase(name, t) for t in targets)}
    added = {name: LowRank(linear, rank, alpha) for name, linear in chosen.items()}
    for name, addition in added.items():
        _put(module, name, addition)
    return [p for addition in added.values() for p in (addition.down, addition.up)]


def low_rank_layers(part: Any) -> Sequence[str]:
    """Where low-rank additions belong in an encoder: what its part names as `low_rank_layers`, else its attention."""
    return getattr(part, "low_rank_layers", ATTENTION)


def merge(module: nn.Module) -> nn.Module:
    """Add the low-rank additions to the weights they stand beside: the module has its old names and shapes again."""
    for name, addition in [(n, m) for n, m in module.named_modules() if isinstance(m, LowRank)]:
        _put(module, name, addition.merged())
    return module.requires_grad_(True)


def _is_linear(m: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    point = isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.groups == 1 and m.padding == (0, 0)
    return point or isinstance(m, nn.Linear)


def _put(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    module.get_submodule(parent).register_module(last, child)
