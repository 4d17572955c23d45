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
class RecurrentPositions(LongTexts):
    """MiniLM for texts of up to 512 x `factor` tokens: positions begin anew after 512.

    Formula: in a text of t > 512 tokens, token p has the trained vector of position p mod 512; up to 512 tokens nothing
    changes, to the bit. Tokens 512 apart look as if they stood at one place, and attend to each other so.

    Time and memory grow with the square of the length: 2,048 tokens take 16 times the memory of 512 for their
    attention. Longer texts are cut and counted in `truncated_`.

    Args:
        path: as in `minilm`; any BERT with a table of positions.
        factor: how many times the trained length is read; 1 reads as `minilm(max_tokens=512)` does, with its vectors.
        threads: 0 means all cores.

    Relations: `grouped-positions` keeps the order of far tokens and loses that of neighbours; `parallel-windows` cuts
    at the same places and attends within windows only.
    """

    name = "recurrent-positions"

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
        """[length] p mod 512."""
        return (np.arange(length) % self.trained).astype(np.float64)
