"""Towers of tokens as torch modules: an entrance for each kind of item, and one transformer behind all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tellapart.core.composing import NORM_FLOOR
from tellapart.core.errors import PartError
from tellapart.core.joint import KIND, heads_of
from tellapart.core.joint import Joint as Saved
from tellapart.core.maths import unit


def _plain(layer: nn.Linear) -> nn.Linear:
    """A map that keeps the size of what it is given and adds nothing.

    With constants in between, all items begin as nearly one vector, and contrast then finds no way out of that.
    """
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class _Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = heads_of(dim)
        self.q, self.k, self.v, self.out = (_plain(nn.Linear(dim, dim)) for _ in range(4))

    def forward(self, asking: Tensor, asked: Tensor, there: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, asking), (self.k, asked), (self.v, asked))
        )
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
        made: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return made


class _Layer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=NORM_FLOOR), nn.LayerNorm(dim, eps=NORM_FLOOR)
        self.attention = _Attention(dim)
        self.wide, self.narrow = _plain(nn.Linear(dim, 4 * dim)), _plain(nn.Linear(4 * dim, dim))
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor, there: Tensor, *, last: bool) -> Tensor:
        y = self.norm1(x)
        # Only one token is read after the last layer, so only that one asks there.
        x, asking = (x[:, -1:], y[:, -1:]) if last else (x, y)
        x = x + self.attention(asking, y, there)
        x = x + self.narrow(F.relu(self.wide(self.norm2(x))))
        return x


class Trunk(nn.Module):
    """[n, t, dim] tokens, [n, t] which there are -> [n, dim] float32 of unit length: the last layer's end token."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.end = nn.Parameter(0.02 * torch.randn(dim))
        self.layers = nn.ModuleList(_Layer(dim) for _ in range(layers))
        self.norm = nn.LayerNorm(dim, eps=NORM_FLOOR)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """See the class."""
        x = torch.cat([x, self.end.expand(len(x), 1, -1)], 1)
        there = F.pad(there, (0, 1), value=True)
        for at, layer in enumerate(self.layers, 1):
            x = layer(x, there, last=at == len(self.layers))
        return unit(self.norm(x[:, -1]).float())


class Tower(nn.Module):
    """[n, tokens * each] of one kind of item -> [n, dim] float32 of unit length.

    Attributes:
        mean, spread: buffers [each], of the tokens of the training items.
        trunk: the transformer; towers that `share` have one.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, *, tokens: int, dim: int, layers: int) -> None:
        super().__init__()
        if width % tokens:
            raise PartError(f"{width} numbers are not {tokens} tokens: use encoders of tokens, as strategy=jfe does")
        self.tokens, each = tokens, width // tokens
        self.register_buffer("mean", torch.zeros(each))
        self.register_buffer("spread", torch.ones(each))
        self.enter = _plain(nn.Linear(each, dim))
        self.position = nn.Parameter(torch.zeros(tokens, dim))
        self.trunk = Trunk(dim, layers)

    def share(self, other: Tower) -> Tower:
        """Take the transformer of another tower."""
        self.trunk = other.trunk
        return self

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Take mean and spread of the tokens of training items [n, tokens * each]."""
        total, squares, count = torch.zeros(2, len(self.mean), dtype=torch.float64).unbind(0) + (0,)
        for some in x.split(1024):
            rows = some.unflatten(1, (self.tokens, -1)).flatten(0, 1).double()
            total, squares = total + rows.sum(0), squares + rows.square().sum(0)
            count += int(rows.any(1).sum())
        mean = total / max(count, 1)
        spread = (squares / max(count, 1) - mean.square()).clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.spread.copy_(torch.where(spread > 1e-6, spread, 1.0))

    def place(self, weight: Tensor, bias: Tensor) -> None:
        """Refused: a transformer is no linear map."""
        raise PartError("joint-tower is a transformer and takes no solution in closed form: use strategy=jfe")

    def entered(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """([n, t, dim] tokens in the trunk's width, [n, t] bool which there are)."""
        rows = x.float().unflatten(1, (self.tokens, -1))
        there = rows.any(-1)
        # Places that no item of the batch fills cost as much as others, and change nothing.
        used = int(there.any(0).nonzero().max()) + 1 if there.any() else 0
        rows = (rows[:, :used] - self.mean) / self.spread
        return self.enter(rows) + self.position[:used], there[:, :used]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return torch.as_tensor(self.trunk(*self.entered(x)))

    def joint(self, reference: Tower) -> Joint:
        """Both kinds of items through the one trunk, this kind as what is to change."""
        return Joint(reference, self)


class Joint(nn.Module):
    """[n, numbers of a reference + numbers of a change] -> [n, dim]: the tokens of both side by side; zeros are none.

    Attributes:
        plain: buffer, the share of training rows without a reference.
    """

    plain: Tensor
    kind = KIND

    def __init__(self, reference: Tower, change: Tower) -> None:
        super().__init__()
        self.reference, self.change = reference, change
        self.register_buffer("plain", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        width = self.reference.tokens * len(self.reference.mean)
        (r, has_r), (t, has_t) = self.reference.entered(x[:, :width]), self.change.entered(x[:, width:])
        found: Tensor = self.reference.trunk(torch.cat([r, t], 1), torch.cat([has_r, has_t], 1))
        return found

    def saved(self) -> Saved:
        """The same in numpy; the trunk, which both towers have, is kept once."""
        state = {name: x.detach().float().cpu().numpy().copy() for name, x in self.state_dict().items()}
        once = {name: x for name, x in state.items() if ".trunk." not in name}
        trunk = {name.removeprefix("change."): x for name, x in state.items() if name.startswith("change.trunk.")}
        return Saved(KIND, {**once, **trunk})
