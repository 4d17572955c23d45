from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._dense import Dense, check_names, fold_standardising, unit_forward

TENSORS = ("mean", "spread", "skip.weight", "skip.bias")


@part(
    paper="Zhai et al., LiT: Zero-Shot Transfer with Locked-image text Tuning, CVPR 2022",
    place="encode",
    traits=("head", "linear"),
    aliases=("linear-projection",),
)
class LinearHead:
    """One linear map from frozen features to the shared space.

    z = unit(S (x - mean) / spread + b), x [n, width], z [n, dim] float32. From LiT the locked features are taken, not
    its trained text tower. Use it on few pairs, where `mlp-head` learns them by heart.

    Args:
        dim: width of the shared space.
        dropout: share of the inputs that is dropped in training.
    """

    def __init__(
        self,
        *,
        dim: Annotated[int, Field(ge=1, le=8192)] = 256,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        self.dim = dim
        self.dropout = dropout

    def module(self, width: int) -> Any:
        """The head for features of that width, as a torch module to be trained."""
        require("torch", "training linear-head")
        from tellapart.parts.encode._heads_torch import Head

        return Head(width, self.dim, dropout=self.dropout)

    def layers(self, state: Mapping[str, np.ndarray]) -> list[Dense]:
        """The trained head as dense layers; the unit length comes after them."""
        check_names("linear-head", state, TENSORS)
        return [fold_standardising(state["skip.weight"], state["skip.bias"], state)]

    def apply(self, state: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """[n, width] -> [n, dim] in numpy, equal to the trained module in eval."""
        return unit_forward(self.layers(state), x)
