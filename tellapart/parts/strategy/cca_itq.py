from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import make, part
from tellapart.parts.strategy._codes import SIDES, drawn_rotation, features, nearest_rotation, signs


@part(
    paper="Gong, Lazebnik, Gordo, Perronnin: Iterative Quantization: A Procrustean Approach to Learning Binary Codes "
    "for Large-Scale Image Retrieval, IEEE TPAMI 2013",
    place="train",
    traits=("closed-form", "two-sides"),
    needs=("torch",),
    aliases=("itq",),
)
class CcaItq(nn.Module):
    """Canonical correlation, then the rotation of the shared space in which signs lose least: codes for both sides.

    Let V [2n, d] be what `cca` makes of both sides of n pairs, before any length is changed. From a random orthogonal
    R [d, d], in turn::

        B = sign(V R)
        R = argmin |B - V R|^2 = U W',   V' B = U S W'

    Neither raises |B - V R|^2. The towers are those of `cca`, rotated; with `head=sign-head(dim=BITS)` a vector is its
    code. A rotation changes no cosine, so with other heads the result is that of `cca`.

    When to use: search by codes (`index=sign-bits`) of a few thousand pairs, without a training step. It is the
    baseline of `rreh`, which learns from items without a partner too. The paper takes labels for the second side; here
    it is the other half of the pair, and one rotation serves both sides.

    Args:
        ridge, power: as in `cca`.
        rounds: how often code and rotation are renewed; 0: a random rotation.
    """

    def __init__(
        self,
        *,
        ridge: Annotated[float, Field(gt=0, le=1e6)] = 3.0,
        power: Annotated[float, Field(ge=0, le=4)] = 0.5,
        rounds: Annotated[int, Field(ge=0, le=1000)] = 50,
    ) -> None:
        super().__init__()
        self.ridge, self.power, self.rounds = ridge, power, rounds

    @torch.no_grad()
    def begin(self, run: Any) -> None:
        """Put the solution into the towers."""
        if run.data.same_space:
            raise PartError("cca-itq needs two sides, and this collection is searched by itself; use two-tower")
        caught = nn.ModuleDict({side: _Caught(run.towers[side]) for side in SIDES})
        make("strategy", "cca", ridge=self.ridge, power=self.power).begin(replace(run, towers=caught))
        maps = [caught[side].placed for side in SIDES]
        pairs = [features(run, side, "cca-itq")[: len(run.data)] for side in SIDES]
        v = np.concatenate([x @ weight.T + bias for x, (weight, bias) in zip(pairs, maps, strict=True)])
        turned = drawn_rotation(v.shape[1], np.random.default_rng(run.seed))
        for _ in range(self.rounds):
            turned = nearest_rotation(v, signs(v @ turned))
        for side, (weight, bias) in zip(SIDES, maps, strict=True):
            run.towers[side].place(*(torch.from_numpy(turned.T @ each).float() for each in (weight, bias)))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """There are no steps."""
        raise PartError("cca-itq is solved in closed form and has no steps")

    def after(self, run: Any) -> None:
        """Nothing to keep."""


class _Caught(nn.Module):
    """A tower that keeps the map which is to be placed in it, beside it."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.placed: tuple[np.ndarray, np.ndarray] | None = None

    def standardised(self, x: Tensor) -> Any:
        return self.tower.standardised(x)  # type: ignore[operator]

    def place(self, weight: Tensor, bias: Tensor) -> None:
        self.placed = (weight.cpu().numpy().astype(np.float64), bias.cpu().numpy().astype(np.float64))

    def forward(self, x: Tensor) -> Any:
        return self.tower(x)
