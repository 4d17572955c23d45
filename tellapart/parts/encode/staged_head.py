from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.needs import require
from tellapart.core.parts import make, part

STAGE, BLOCK = "stage", "blocks."


@part(
    paper="Zhang, Lan, Qu, Cheng, Feng, Hooi: Learning the Unlearned: Mitigating Feature Suppression in Contrastive "
    "Learning, ECCV 2024",
    place="encode",
    traits=("head", "staged"),
)
class StagedHead:
    """Heads that are trained one after the other; their vectors side by side are the vector.

    Formula, with h_1 ... h_S the heads, each with about dim / S numbers of unit length, and s of them begun::

        z = (h_1(x), ..., h_s(x), 0, ..., 0) / sqrt(s)

    x [n, width], z [n, dim] float32 of unit length, so that a score is the mean of the stages' cosines. The stage that
    is being trained is a buffer, kept with the weights: the heads before it are frozen (they give no gradient and drop
    nothing), those after it have not begun and give zeros, in training as in search.

    The paper trains a whole encoder a stage and puts their vectors side by side; here the encoder is frozen and common,
    and only heads are trained. Unit length before joining is said of the vectors that are clustered; the authors' code
    for MMVP joins vectors of any length and normalises the whole.

    When to use: with a strategy that moves from stage to stage, `mcl`; others are refused, and so is `mcl` with another
    head. It cannot be written as dense layers, and so not be exported.

    Args:
        dim: width of the whole vector.
        stages: how many heads; the first ones have one number more where dim does not divide evenly.
        block: the head of a stage, by name; its own `dim` is set here.

    Raises:
        PartError: fewer numbers than stages, a block that is no plain head, tensors of something else.
    """

    def __init__(
        self,
        *,
        dim: Annotated[int, Field(ge=1, le=8192)] = 256,
        stages: Annotated[int, Field(ge=1, le=16)] = 3,
        block: Annotated[str, Field(min_length=1)] = "linear-head",
    ) -> None:
        self.dim = dim
        self.stages = stages
        self.block = block

    def module(self, width: int) -> Any:
        """The heads for features of that width, as one torch module to be trained."""
        require("torch", "training staged-head")
        from tellapart.parts.encode._heads_torch import Staged

        return Staged([block.module(width) for block in self._blocks()], self._widths())

    def layers(self, state: Mapping[str, np.ndarray]) -> list[Any]:
        """Refused: the stages' own unit lengths are no dense layers."""
        raise PartError("staged-head brings every stage to unit length and is no stack of dense layers: not exported")

    def apply(self, state: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """[n, width] -> [n, dim] in numpy, equal to the trained module in eval."""
        blocks, begun = self._blocks(), int(np.ravel(state.get(STAGE, -1))[0]) + 1
        prefixes = tuple(f"{BLOCK}{number}." for number in range(self.stages))
        if not 1 <= begun <= self.stages or not all(name == STAGE or name.startswith(prefixes) for name in state):
            raise PartError(f"these are not the tensors of a staged-head of {self.stages} stages: {', '.join(state)}")
        z = np.zeros((len(x), self.dim), np.float32)
        ends = np.cumsum(self._widths())
        for number, block in enumerate(blocks[:begun]):
            prefix = prefixes[number]
            own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            z[:, ends[number] - block.dim : ends[number]] = block.apply(own, x)
        return z / np.float32(begun**0.5)

    def _widths(self) -> list[int]:
        if self.dim < self.stages:
            raise PartError(f"staged-head: {self.dim} numbers are too few for {self.stages} stages; give a larger dim")
        return [len(piece) for piece in np.array_split(np.arange(self.dim), self.stages)]

    def _blocks(self) -> list[Any]:
        blocks = [make("encode", self.block, dim=width) for width in self._widths()]
        if isinstance(blocks[0], StagedHead) or not hasattr(blocks[0], "module") or not hasattr(blocks[0], "apply"):
            raise PartError(f"staged-head: block={self.block} is no plain head; linear-head and mlp-head are")
        return blocks
