from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.encode._bert_texts import BertTexts
from tellapart.parts.encode._onnx import digest


@part(
    paper="Zhu et al., LongEmbed: Extending Embedding Models for Long Context Retrieval, EMNLP 2024",
    place="encode",
    system="longembed",
    traits=("frozen", "tokens"),
    aliases=("parallel-context-windows",),
)
class ParallelWindows(BertTexts):
    """MiniLM for long texts: windows side by side, each encoded alone, and their mean.

    Formula: a text's word pieces in consecutive runs of `window` - 2, each between [CLS] and [SEP] and encoded as
    `minilm` does: w_1 … w_m, unit; the vector is the mean of them at unit length. A text of one window has the vector
    of `minilm(max_tokens=window)`. The authors average before each window's vector is brought to unit length; here
    every window counts alike.

    `encode_tokens` gives the windows' vectors themselves: with `index=maxsim` the best window of a text decides (chunk
    and maximum), which one vector for a whole text cannot do.

    When to use it: long texts of many topics. Time grows with the length, not with its square. What is beyond `most`
    windows is cut and counted in `truncated_`.

    Args:
        path: as in `minilm`.
        window: tokens a window, with its two ends.
        most: windows a text.
        threads: 0 means all cores.

    Relations: `grouped-positions`, `recurrent-positions` and `interpolated-positions` read a long text at once.
    """

    def __init__(
        self,
        *,
        path: str = "",
        window: Annotated[int, Field(ge=8, le=512)] = 256,
        most: Annotated[int, Field(ge=1, le=256)] = 32,
        threads: Annotated[int, Field(ge=0, le=256)] = 0,
    ) -> None:
        self.path = path
        self.window = window
        self.most = most
        self.threads = threads
        self.truncated_ = 0

    @property
    def max_tokens(self) -> int:  # type: ignore[override]
        """How many word pieces of a text are read."""
        return self.most * (self.window - 2)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokeniser and windows: equal fingerprints give equal vectors."""
        return digest("parallel-windows", self._files.digest, str(self.window), str(self.most), "float32")

    def encode(self, items: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """[n, 384] float32 unit vectors.

        Raises:
            DataError: an item is not a text.
        """
        vectors = np.empty((len(items), self.dim), np.float32)
        for row, windows in enumerate(self.encode_tokens(items, batch_size=batch_size)):
            mean = windows.mean(0)
            vectors[row] = windows[0] if len(windows) == 1 else mean / np.linalg.norm(mean)
        return vectors

    def encode_tokens(self, items: Sequence[str], *, batch_size: int = 64) -> list[np.ndarray]:
        """A matrix [windows, 384] float32 of unit rows for each text, a row for each window."""
        inside = self.window - 2
        texts = self._tokenise(items)
        first, last = (self._tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        windows = [
            [first, *pieces[start : start + inside], last]
            for pieces in texts
            for start in range(0, max(1, len(pieces)), inside)
        ]
        found = np.empty((len(windows), self.dim), np.float32)
        for rows, vectors in self._runs(windows, batch_size, self._session):
            found[rows] = vectors
        counts = [max(1, -(-len(pieces) // inside)) for pieces in texts]
        return np.split(found, np.cumsum(counts)[:-1]) if texts else []

    def _tokenise(self, items: Sequence[str]) -> list[list[int]]:
        """The word pieces of each text, without [CLS] and [SEP]."""
        return [pieces[1:-1] for pieces in super()._tokenise(items)]

    @cached_property
    def _tokenizer(self) -> Any:
        return self._files.tokenizer(self.max_tokens + 2)
