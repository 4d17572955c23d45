from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import part


@part(
    paper="Hotelling, Relations Between Two Sets of Variates, Biometrika 1936; ridge as in Vinod, Canonical ridge and "
    "econometrics of joint production, Journal of Econometrics 1976",
    place="train",
    traits=("closed-form",),
    needs=("torch",),
    aliases=("canonical-correlation",),
)
class Cca(nn.Module):
    """Linear towers in closed form: the directions in which the two sides vary together, without a training step.

    With centred features x, y of the two sides, weighted so that every duplicate group (or concept) counts once::

        C_xx = E[x x'] + ridge * tr(E[x x']) / p * I,   C_yy likewise,   C_xy = E[x y']
        C_xx^(-1/2) C_xy C_yy^(-1/2) = U S V'
        query tower  = S^power U' C_xx^(-1/2),   document tower = S^power V' C_yy^(-1/2)

    and vectors are brought to unit length. The `dim` leading directions are kept, as many as the head is wide.

    When to use: frozen features and a few thousand pairs, where a contrastive loss overfits; it takes seconds, has no
    learning rate, and is a hard baseline. Needs features (no pixels), two sides, and a head with a linear path.

    Args:
        ridge: strength of the ridge, in units of the mean variance of a feature.
        power: 0 gives all directions the same weight, 1 weighs them by their correlation.

    Relations: `two-tower` maximises agreement against the other pairs of a batch instead.
    """

    def __init__(
        self,
        *,
        ridge: Annotated[float, Field(gt=0, le=1e6)] = 3.0,
        power: Annotated[float, Field(ge=0, le=4)] = 0.5,
    ) -> None:
        super().__init__()
        self.ridge, self.power = ridge, power

    @torch.no_grad()
    def begin(self, run: Any) -> None:
        """Put the solution into the towers."""
        if run.data.same_space:
            raise PartError("cca needs two sides, and this collection is searched by itself; use two-tower")
        weight = _each_group_once(run.data.keys.group).to(run.device)
        sides = [_features(run, side) for side in ("query", "document")]
        means = [weight @ x for x in sides]
        x, y = ((side - mean) * weight.sqrt()[:, None] for side, mean in zip(sides, means, strict=True))
        root_x, root_y = (torch.linalg.cholesky(_ridged(z.T @ z, self.ridge)) for z in (x, y))
        whitened = torch.linalg.solve_triangular(root_x, x.T @ y, upper=False)
        whitened = torch.linalg.solve_triangular(root_y, whitened.T, upper=False).T
        u, s, v = torch.linalg.svd(whitened, full_matrices=False)
        dim = min(run.dim(), len(s))
        for side, root, mean, directions in (
            ("query", root_x, means[0], u[:, :dim]),
            ("document", root_y, means[1], v[:dim].T),
        ):
            tower = torch.linalg.solve_triangular(root.T, directions * s[:dim] ** self.power, upper=True).T
            run.towers[side].place(tower.float(), -(tower @ mean).float())

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """There are no steps."""
        raise PartError("cca is solved in closed form and has no steps")

    def after(self, run: Any) -> None:
        """Nothing to keep."""


def _features(run: Any, side: str) -> Tensor:
    inputs = getattr(run.data, side)
    if inputs.encoder() is not None:
        raise PartError("cca works on frozen features; leave the encoder as it is, or use two-tower")
    x = inputs.batch(np.arange(len(inputs)), seed=None).to(run.device)
    standardised: Tensor = run.towers[side].standardised(x)
    return standardised.double()


def _each_group_once(group: Tensor) -> Tensor:
    """[n] weights that sum to 1, the same in total for every group."""
    _, number, count = group.unique(return_inverse=True, return_counts=True)
    return (1 / count[number].double()) / len(count)


def _ridged(covariance: Tensor, ridge: float) -> Tensor:
    mean_variance = covariance.diagonal().mean()
    return covariance + (ridge * mean_variance * torch.ones_like(covariance.diagonal())).diag()
