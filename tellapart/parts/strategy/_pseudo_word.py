"""A picture as one more word beside those of a change: the module of composed queries that captions teach."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tellapart.parts.strategy._composer import Gated


class PseudoWord(Gated):
    """`moved(r, t)` is `Gated.moved(phi(r), t)`, phi(x) = x + V relu(U x + a) + b, which begins as the identity."""

    kind = "pseudo-word"

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(dim, hidden)
        self.enter, self.leave = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def phi(self, x: Tensor) -> Tensor:
        """[n, d] pseudo words of [n, d] vectors of captions or pictures."""
        found: Tensor = x + self.leave(F.relu(self.enter(x)))
        return found

    def untaught(self, word: Tensor, t: Tensor) -> Tensor:
        """[n, d] unit vectors of pseudo words and others, as a text side that nobody taught joins them: their sum."""
        return F.normalize(word + t, dim=1)

    def taught(self, word: Tensor, t: Tensor) -> Tensor:
        """[n, d] unit vectors of pseudo words and others, as the learnt text side joins them."""
        return F.normalize(super().moved(word, t), dim=1)

    def moved(self, r: Tensor, t: Tensor) -> Tensor:
        return super().moved(self.phi(r), t)
