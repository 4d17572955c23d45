"""Vectors that are shaken, and the loss that counts them the less the more they were (multi-grained uncertainty)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tellapart.core.draws import RowDraws

RADIUS, ANGLE = 31, 32
FLATTEST = 1e-5


@dataclass(frozen=True)
class Shaken:
    """What was made of some vectors.

    Attributes:
        z: [n, d] of length 1.
        spread: the standard deviation of all numbers of all of them, over all processes, before they were of length 1.
    """

    z: Tensor
    spread: Tensor

    def regularised(self, loss: Tensor) -> Tensor:
        """(exp(-spread) loss + spread) / 2."""
        return (torch.exp(-self.spread) * loss + self.spread) / 2


def shaken(run: Any, rows: np.ndarray, z: Tensor, *, length: float, strength: float) -> Shaken:
    """f' = alpha f + beta, number by number, of the vectors x = length z of some rows.

    f is x less its own mean m over its own deviation s; alpha is normal around 1 and beta around m, both with a
    deviation of strength s. Draws belong to items; no gradient goes through m and s where they shape the draws.
    """
    x = length * z
    mean, deviation = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    around, wide = mean.detach(), strength * deviation.detach()
    draws = RowDraws(run.draw("jitter"), run.keys(rows).item)
    first, second = normal(draws, 2 * z.shape[1]).chunk(2, 1)
    white = (x - mean) / (x.var(1, keepdim=True, correction=0) + FLATTEST).sqrt()
    made = (1 + wide * first) * white + around + wide * second
    return Shaken(torch.nn.functional.normalize(made, dim=1), run.gather(made).std())


def normal(draws: RowDraws, width: int) -> Tensor:
    """[n, width] independent standard normal numbers (Box and Muller)."""
    radius = (-2.0 * (1.0 - draws.uniform(width, stream=RADIUS)).log()).sqrt()
    return radius * (2.0 * math.pi * draws.uniform(width, stream=ANGLE)).cos()


def coarseness(run: Any, decay: float) -> float:
    """exp(-decay times the share of the steps that are done): 1 at first, exp(-decay) at the end."""
    return math.exp(-decay * run.step / max(1, run.steps))
