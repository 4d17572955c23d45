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
class InterpolatedPositions(LongTexts):
    """MiniLM for texts of up to 512 x `factor` tokens: positions between the trained ones.

    Formula: in a text of t > 512 tokens, token p stands at x = p / `factor` and has (1 - a) E[floor x] + a E[floor x
    + 1], a = x - floor x, E the trained vectors; beyond the last of them, the last. A text of up to 512 tokens has its
    own positions, which are every `factor`-th of the longer table: nothing changes, to the bit.

    Of the paper the table is taken as it is; the fine-tuning of the vectors in between, for which short texts stay as
    they are too, is not.

    Time and memory grow with the square of the length: 2,048 tokens take 16 times the memory of 512 for their
    attention. Longer texts are cut and counted in `truncated_`.

    Args:
        path: as in `minilm`; any BERT with a table of positions.
        factor: how many times the trained length is read; 1 reads as `minilm(max_tokens=512)` does, with its vectors.
        threads: 0 means all cores.

    Relations: `grouped-positions` is this without the vectors in between; `recurrent-positions` and `parallel-windows`
    need no vectors that the model has not seen.
    """

    name = "interpolated-positions"

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
        """[length] p / factor, no farther than the last trained position."""
        return np.minimum(np.arange(length) / self.factor, self.trained - 1.0)
