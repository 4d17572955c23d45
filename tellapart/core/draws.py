"""Random numbers that belong to rows: equal however a batch is cut into chunks or spread over processes."""

from __future__ import annotations

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

    def _bits(self, width: int, stream: int) -> Tensor:
        start = _mix(torch.tensor(_signed((self.seed * 0x2545F4914F6CDD1D + stream) % (1 << 64))))
        rows = _mix(self.keys.to(torch.int64) * _GAMMA + start.to(self.keys.device))
        place = torch.arange(1, width + 1, device=self.keys.device) * _GAMMA
        return _mix(rows[:, None] + place)
