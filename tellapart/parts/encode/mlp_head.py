from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._dense import Dense, check_names, fold_standardising, unit_forward

TENSORS = ("mean", "spread", "skip.weight", "skip.bias", "inner.weight", "inner.bias", "outer.weight")


@part(
    paper="Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (SimCLR), ICML 2020",
    place="encode",
    traits=("head",),
)
class MlpHead:
    """A linear map and a small network beside it, from frozen features to the shared space.

    z = unit(S x' + B relu(A x' + a) + b) with x' = (x - mean) / spread, x [n, width], z [n, dim] float32. From SimCLR
    the non-linear projection with one hidden layer is taken; the linear path beside it was added, so that the head
    begins as `linear-head` does. Two dense layers hold it exactly, because S x' = relu(S x') - relu(-S x').

    Args:
        dim: width of the shared space.
        hidden: width of the hidden layer.
        dropout: share of inputs and hidden values that is dropped in training.
    """

    def __init__(
        self,
        *,
        dim: Annotated[int, Field(ge=1, le=8192)] = 256,
        hidden: Annotated[int, Field(ge=1, le=65536)] = 512,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        self.dim = dim
        self.hidden = hidden
        self.dropout = dropout

    def module(self, width: int) -> Any:
        """The head for features of that width, as a torch module to be trained."""
        require("torch", "training mlp-head")
        from tellapart.parts.encode._heads_torch import Head

        return Head(width, self.dim, hidden=self.hidden, dropout=self.dropout)

    def layers(self, state: Mapping[str, np.ndarray]) -> list[Dense]:
        """The trained head as dense layers; the unit length comes after them."""
        check_names("mlp-head", state, TENSORS)
        skip, outer, bias = state["skip.weight"], state["outer.weight"], state["skip.bias"]
        weight = np.concatenate([state["inner.weight"], skip, -skip])
        first = fold_standardising(weight, np.concatenate([state["inner.bias"], np.zeros(2 * len(skip))]), state)
        one = np.eye(len(skip), dtype=np.float32)
        return [Dense(first.weight, first.bias, relu=True), Dense(np.concatenate([outer, one, -one], 1), bias)]

    def apply(self, state: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """[n, width] -> [n, dim] in numpy, equal to the trained module in eval."""
        return unit_forward(self.layers(state), x)
