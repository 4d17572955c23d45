from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.joint import tower
from tellapart.core.needs import require
from tellapart.core.parts import part


@part(
    paper="Vaswani et al., Attention Is All You Need, NeurIPS 2017; as one tower for all kinds of items: Huang, Wu, "
    "Miao and Yamasaki, Joint Fusion and Encoding, arXiv 2502.20008",
    place="encode",
    traits=("head",),
)
class JointTower:
    """A small transformer above the tokens of an item: `strategy=jfe` uses it for both sides, with one trunk.

    Formula, for the tokens x_1, ..., x_t of an item (cells of a picture, pieces of words; those of zeros are none)::

        h_j = E (x_j - mean) / spread + p_j,   h_end = a learnt token
        y = layers of self-attention over h_1, ..., h_t, h_end, each: h += A(N h), h += V relu(U N h)
        z = N y_end, brought to length 1

    x is [n, tokens * each], the tokens one after the other, as `flat-tokens` gives them; z is [n, dim] float32. N is
    layer norm, A attention with a head for every 32 numbers (one head where these do not fill `dim`); U widens four
    times. E, p, mean and spread belong to one kind of items, the rest to all. Nothing is exported to ONNX or
    sentence-transformers: it is no list of dense layers.

    Args:
        dim: width of the transformer and of the vectors.
        depth: layers of attention.
        tokens: how many an item has.

    Raises `PartError` for a width that is not that many tokens, and for tensors of another head; `DataError` for
    features of another width, or not finite.
    """

    def __init__(
        self,
        *,
        dim: Annotated[int, Field(ge=1, le=8192)] = 128,
        depth: Annotated[int, Field(ge=1, le=24)] = 2,
        tokens: Annotated[int, Field(ge=1, le=512)] = 4,
    ) -> None:
        self.dim = dim
        self.depth = depth
        self.tokens = tokens

    def module(self, width: int) -> Any:
        """The tower for features of that width, as a torch module to be trained."""
        require("torch", "training joint-tower")
        from tellapart.parts.encode._joint_torch import Tower

        return Tower(width, tokens=self.tokens, dim=self.dim, layers=self.depth)

    def layers(self, state: Mapping[str, np.ndarray]) -> list[Any]:
        """Refused: attention is no dense layer."""
        raise PartError("joint-tower is a transformer and cannot be exported: train with another strategy for that")

    def apply(self, state: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """[n, tokens * each] -> [n, dim] in numpy, equal to the trained module in eval."""
        if "position" not in state or "mean" not in state or "trunk.end" not in state:
            raise PartError(f"joint-tower was given tensors that are not its own: {', '.join(sorted(state))}")
        return tower(state, ("", np.asarray(x)))
