from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.encode._long_texts import LongTexts


@part(
    paper="Zhu et al., LongEmbed: Extending Embedding Models for Long Context Retrieval, EMNLP 2024",
    place="encode",
    system="longembed",
    traits=("frozen", "tokens"),
)
class GroupedPositions(LongTexts):
    """MiniLM for texts of up to 512 x `factor` tokens: neighbouring tokens share a position.

    Formula: in a text of t > 512 tokens, token p has the trained vector of position floor(p / s), s = ceil(t / 512); up
    to 512 tokens nothing changes, to the bit. As in the authors' code s is the text's own, so that no position is used
    by more tokens than it must.

    Time and memory grow with the square of the length: 2,048 tokens take 16 times the memory of 512 for their
    attention. Longer texts are cut and counted in `truncated_`.

    Args:
        path: as in `minilm`; any BERT with a table of positions.
        factor: how many times the trained length is read; 1 reads as `minilm(max_tokens=512)` does, with its vectors.
        threads: 0 means all cores.

    Relations: `interpolated-positions` puts vectors between the trained ones, `recurrent-positions` begins anew every
    512 tokens, `parallel-windows` leaves the model as it is.
    """

    name = "grouped-positions"

    def __init__(
        self,
        *,
        path: str = "",
        factor: Annotated[int, Field(ge=1, le=16)] = 4,
        threads: Annotated[int, Field(ge=0, le=256)] = 0,
    ) -> None:
        self.path = path
        self.factor = factor
        self.threads = threads
        self.truncated_ = 0

    def positions(self, length: int) -> np.ndarray:
        """[length] floor(p / s), s = ceil(length / 512)."""
        return (np.arange(length) // -(-length // self.trained)).astype(np.float64)
