"""Heads as torch modules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.maths import unit


class Head(nn.Module):
    """[n, width] -> [n, dim] float32 of unit length.

    z = unit(S x' + B relu(A x' + a) + b) with x' = (x - mean) / spread; without `hidden` only S x' + b.

    Attributes:
        mean, spread: buffers [width], 0 and 1 until `standardise` sets them; they are not trained.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, dim: int, *, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.skip = nn.Linear(width, dim)
        self.dropout = nn.Dropout(dropout)
        self.inner = nn.Linear(width, hidden) if hidden else None
        self.outer = nn.Linear(hidden, dim, bias=False) if hidden else None

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Take mean and spread from training features [n, width]: values that never vary keep the spread 1."""
        self.mean.copy_(x.double().mean(0))
        spread = x.double().std(0, correction=0)
        self.spread.copy_(torch.where(spread > 1e-6, spread, 1.0))

    def standardised(self, x: Tensor) -> Tensor:
        """[n, width] features with the training features' mean taken off and their spread divided out."""
        return (x.float() - self.mean) / self.spread

    @torch.no_grad()
    def place(self, weight: Tensor, bias: Tensor) -> None:
        """Make the head the linear map of standardised features [rows <= dim, width]; what lies beside it gives 0."""
        self.skip.weight.zero_()
        self.skip.bias.zero_()
        self.skip.weight[: len(weight)] = weight
        self.skip.bias[: len(bias)] = bias
        if self.outer is not None:
            self.outer.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.dropout(self.standardised(x))
        z = self.skip(x)
        if self.inner is not None and self.outer is not None:
            z = z + self.outer(self.dropout(torch.relu(self.inner(x))))
        return unit(z)


class Residual(Head):
    """[n, width] -> [n, dim] float32: z = unit(I x + S x' + b), I with ones on its diagonal, S and b at zero."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__(width, dim)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)

    @torch.no_grad()
    def place(self, weight: Tensor, bias: Tensor) -> None:
        """As of any head; what the residual gives by itself is taken off again."""
        super().place(weight, bias)
        dim, width = self.skip.weight.shape
        self.skip.weight -= torch.eye(dim, width) * self.spread
        self.skip.bias -= torch.nn.functional.pad(self.mean, (0, max(0, dim - width)))[:dim]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        dim, width = self.skip.weight.shape
        own = nn.functional.pad(x.float(), (0, max(0, dim - width)))[:, :dim]
        return unit(own + self.skip(self.standardised(x)))


class Signs(Head):
    """[n, width] -> [n, dim] float32: the signs of a linear map y over sqrt(dim), with the gradient of unit(y).

    Computed in float64, so that a sign does not depend on the order of a sum.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        inner = (x.double() - self.mean.double()) / self.spread.double()
        y = nn.functional.linear(inner, self.skip.weight.double(), self.skip.bias.double())
        soft = unit(y).float()
        code = torch.where(y >= 0, 1.0, -1.0).float() / y.shape[1] ** 0.5
        return code + (soft - soft.detach())


class Staged(nn.Module):
    """Heads side by side, trained one after the other: [n, width] -> [n, dim] float32 of unit length.

    Attributes:
        stage: buffer, the number of the head that is being trained; those before it are frozen, those after it give 0.
        parts: where each head's numbers stand.
    """

    stage: Tensor

    def __init__(self, blocks: Sequence[nn.Module], widths: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        ends = torch.tensor([0, *widths]).cumsum(0).tolist()
        self.widths, self.parts = tuple(widths), [slice(a, b) for a, b in pairwise(ends)]

    def begin(self, stage: int) -> None:
        """Freeze the heads before this one, and train it."""
        self.stage.fill_(stage)

    def standardise(self, x: Tensor) -> None:
        """As every head does it."""
        for block in self.blocks:
            block.standardise(x)

    def place(self, weight: Tensor, bias: Tensor) -> None:
        """Refused: there is no one linear map."""
        raise PartError("staged-head is trained in stages and takes no solution in closed form: use strategy=mcl")

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        now, made = int(self.stage), []
        for number, (block, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            if number > now:
                made.append(torch.zeros(len(x), width, device=x.device))
                continue
            block.train(self.training and number == now)
            with torch.set_grad_enabled(torch.is_grad_enabled() and number == now):
                made.append(block(x))
        return torch.cat(made, 1) / (now + 1) ** 0.5
