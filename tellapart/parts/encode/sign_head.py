from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError, PartError
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._dense import check_names

TENSORS = ("mean", "spread", "skip.weight", "skip.bias")


@part(
    paper="Bengio, Leonard, Courville: Estimating or Propagating Gradients Through Stochastic Neurons for Conditional "
    "Computation, 2013, arXiv 1308.3432",
    place="encode",
    traits=("head",),
)
class SignHead:
    """The signs of one linear map from frozen features: a code of `dim` bits, as a vector of unit length.

    y = S (x - mean) / spread + b, z_j = 1 / sqrt(dim) where y_j >= 0 and -1 / sqrt(dim) elsewhere; x [n, width], z [n,
    dim] float32. A cosine of two vectors is 1 - 2 h / dim with h bits that differ, so that `index=sign-bits` orders
    them as a search by Hamming distance would, and `index=exact` does the same. Signs are taken of numbers in float64,
    in torch as in numpy, so that both give one code.

    A sign has no gradient. In training that of y of unit length stands for it (straight through, of which the paper
    compares several), so that any strategy can train it; `cca-itq` and `rreh` put a solution into it. Many pairs of
    items have equal scores: figures count ties as random order. It is no stack of dense layers, and is not exported.

    When to use: vectors must take 32 times less room, or a search by bits is wanted; `linear-head` finds more.

    Args:
        dim: bits.

    Raises:
        PartError: tensors of something else; an export.
        DataError: vectors of another width, or not finite.
    """

    def __init__(self, *, dim: Annotated[int, Field(ge=1, le=8192)] = 64) -> None:
        self.dim = dim

    def module(self, width: int) -> Any:
        """The head for features of that width, as a torch module to be trained."""
        require("torch", "training sign-head")
        from tellapart.parts.encode._heads_torch import Signs

        return Signs(width, self.dim)

    def layers(self, state: Mapping[str, np.ndarray]) -> list[Any]:
        """Refused: signs are no dense layers."""
        raise PartError("sign-head gives signs, which no stack of dense layers does: it is not exported")

    def apply(self, state: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """[n, width] -> [n, dim] in numpy, equal to the trained module."""
        check_names("sign-head", state, TENSORS)
        mean, spread, weight, bias = (state[name].astype(np.float64) for name in TENSORS)
        if x.ndim != 2 or x.shape[1] != len(mean):
            raise DataError(f"this head was trained on vectors of width {len(mean)}, and was given {x.shape}")
        if not np.isfinite(x).all():
            raise DataError("the vectors hold values that are not finite (NaN or infinity); embed those items anew")
        y = (x.astype(np.float64) - mean) / spread @ weight.T + bias
        return np.where(y >= 0, np.float32(1), np.float32(-1)) / np.float32(len(bias) ** 0.5)
