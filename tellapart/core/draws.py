"""Random numbers that belong to rows: equal however a batch is cut into chunks or spread over processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= (1 << 63) else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al., 2014); int64 wraps around as uint64 does."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


@dataclass(frozen=True)
class RowDraws:
    """Draws for the rows of a block, a function of (seed, row key, stream, position) alone.

    Attributes:
        seed: one number a step.
        keys: [n] int64, the rows' item numbers.
    """

    seed: int
    keys: Tensor

    def uniform(self, width: int, *, stream: int = 0) -> Tensor:
        """[n, width] float32 in [0, 1); use another `stream` for every draw that must be independent."""
        return _shift(self._bits(width, stream), 40).float() / (1 << 24)

    def integers(self, high: int, width: int, *, stream: int = 0) -> Tensor:
        """[n, width] int64 in [0, high)."""
        return _shift(self._bits(width, stream), 1).remainder(high)

    def beta(self, alpha: float, width: int, *, stream: int = 0) -> Tensor:
        """[n, width] float32 from Beta(alpha, alpha), alpha >= 1/2 (Ulrich, 1984: exact, two uniform draws for one)."""
        angle, radius = self.uniform(2 * width, stream=stream).double().view(-1, width, 2).unbind(2)
        power = 2.0 / (2.0 * alpha - 1.0) if alpha > 0.5 else math.inf
        spread = (1.0 - (1.0 - radius) ** power).sqrt() if power < math.inf else torch.ones_like(radius)
        return (0.5 + 0.5 * spread * (2.0 * math.pi * angle).cos()).float()

    def of_step(self) -> RowDraws:
        """Draws of the step instead of its rows: one line, the same for every block and process."""
        return RowDraws(self.seed, torch.zeros(1, dtype=torch.int64, device=self.keys.device))

    def of_columns(self, count: int) -> RowDraws:
        """Draws that belong to the columns by their place, the same for every block of rows."""
        return RowDraws(self.seed, torch.arange(count, device=self.keys.device))

    def _bits(self, width: int, stream: int) -> Tensor:
        start = _mix(torch.tensor(_signed((self.seed * 0x2545F4914F6CDD1D + stream) % (1 << 64))))
        rows = _mix(self.keys.to(torch.int64) * _GAMMA + start.to(self.keys.device))
        place = torch.arange(1, width + 1, device=self.keys.device) * _GAMMA
        return _mix(rows[:, None] + place)
