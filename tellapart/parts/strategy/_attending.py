"""A block of cross-attention in which every query reads the tokens of every item; in numpy it is `core.attending`."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.attending import EPSILON


class Reader(nn.Module):
    """Linear maps that begin as the identity, and three layer norms.

    Args:
        width: of queries and tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out, self.inner = (_identity(width) for _ in range(5))
        self.before, self.between, self.after = (nn.LayerNorm(width, eps=EPSILON) for _ in range(3))

    def forward(self, q: Tensor, tokens: Tensor, there: Tensor) -> Tensor:
        """[a, d] queries, [b, t, d] tokens of items, [b, t] bool which there are -> [a, b, d], zeros without tokens."""
        held = self.before(tokens)
        keys, values = self.k(held), self.out(self.v(held))
        sim = torch.einsum("ad,btd->abt", self.q(self.before(q)), keys) / math.sqrt(q.shape[1])
        share = sim.masked_fill(~there, torch.finfo(sim.dtype).min).softmax(-1)
        y = self.between(torch.einsum("abt,btd->abd", share, values))
        found: Tensor = self.after(y + self.inner(y))
        return found * there.any(1)[:, None]

    def saved(self) -> dict[str, np.ndarray]:
        """Its tensors by name, as `core.attending.read` takes them."""
        return {name: x.detach().cpu().numpy().copy() for name, x in self.state_dict().items()}


def _identity(width: int) -> nn.Linear:
    made = nn.Linear(width, width)
    nn.init.eye_(made.weight)
    nn.init.zeros_(made.bias)
    return made
