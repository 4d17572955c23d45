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
    paper="Houlsby et al., Parameter-Efficient Transfer Learning for NLP, ICML 2019",
    place="encode",
    traits=("head", "linear"),
)
class ResidualHead:
    """What a linear map adds to the encoder's own vectors: training begins at the space as it was pretrained.

    z = unit(x + S (x - mean) / spread + b), x [n, width], z [n, dim] float32, with S and b at zero before the first
    step, so that the untrained head changes nothing. Of Houlsby et al. the addition that begins as the identity is
    taken, not its place between the layers.

    When to use: both sides hold one modality, and their encoder compares them already: few pairs, few steps, or
    `tune=full`, where a new map would first have to find the space again. Where the sides come from two encoders there
    is no such space, and `linear-head` is right.

    Args:
        dim: width of the shared space: the encoder's. Of a wider encoder the first `dim` numbers are taken, beside
            those of a narrower one stand zeros.

    Relations: `linear-head` begins at random and has the same form in the end.
    """

    def __init__(self, *, dim: Annotated[int, Field(ge=1, le=8192)] = 384) -> None:
        self.dim = dim

    def module(self, width: int) -> Any:
        """The head for features of that width, as a torch module to be trained."""
        require("torch", "training residual-head")
        from tellapart.parts.encode._heads_torch import Residual

        return Residual(width, self.dim)

    def layers(self, state: Mapping[str, np.ndarray]) -> list[Dense]:
        """The trained head as dense layers; the unit length comes after them."""
        check_names("residual-head", state, TENSORS)
        added = fold_standardising(state["skip.weight"], state["skip.bias"], state)
        return [Dense(added.weight + np.eye(*added.weight.shape, dtype=np.float32), added.bias)]

    def apply(self, state: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """[n, width] -> [n, dim] in numpy, equal to the trained module in eval."""
        return unit_forward(self.layers(state), x)
