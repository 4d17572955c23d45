"""EfficientNet-Lite0 as a torch module for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tellapart.parts.encode._lite0 import EPSILON, Step, padding, plan


class Lite0Module(nn.Module):
    """Pictures [n, 3, side, side] float32 in 0..1 -> features [n, 1280].

    The running averages of BatchNorm are kept as they are, in training too: batches of pairs would otherwise leak from
    one item to another, and small ones would spoil the averages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = list(plan())
        for step in self.steps:
            *path, last = step.name.split(".")
            at: nn.Module = self
            for name in path:
                if name not in dict(at.named_children()):
                    at.add_module(name, nn.Module())
                at = at.get_submodule(name)
            at.add_module(last, _ConvNorm(step))

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        values = [(pictures * 255 - 127) / 128]
        for step in self.steps:
            x = self.get_submodule(step.name)(values[-1])
            values.append(x + values[-step.skip] if step.skip else x)
        return values[-1].mean((2, 3))


class _ConvNorm(nn.Module):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self.kernel, self.stride, self.relu = step.kernel, step.stride, step.relu
        self.conv = nn.Conv2d(step.inside, step.outside, step.kernel, step.stride, groups=step.groups, bias=False)
        self.norm = _Norm(step.outside)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = padding(x.shape[2], self.kernel, self.stride)
        left, right = padding(x.shape[3], self.kernel, self.stride)
        x = self.norm(self.conv(nn.functional.pad(x, (left, right, top, bottom))))
        return torch.clamp(x, 0, 6) if self.relu else x


class _Norm(nn.Module):
    """BatchNorm with averages that stay as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPSILON)
