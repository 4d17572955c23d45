"""Texts longer than the positions that a BERT was trained with: other vectors in the places of those it lacks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from tellapart.parts.encode._bert import (
    BUILDER,
    POSITIONS,
    TOKEN_BUILDER,
    TOKENS,
    bert_graph,
    position_rows,
    token_graph,
)
from tellapart.parts.encode._bert_texts import BertTexts
from tellapart.parts.encode._onnx import digest, session


class LongTexts(BertTexts):
    """A part that inherits it stores `path`, `factor` and `threads`, and says which positions a text has."""

    factor: int
    name = ""

    @property
    def max_tokens(self) -> int:  # type: ignore[override]
        """How many tokens are read: `factor` times those of the model."""
        return self.factor * self.trained

    @property
    def trained(self) -> int:
        """How many positions the model was trained with: 512."""
        return int(self._files.config["max_position_embeddings"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokeniser, strategy and cut: equal fingerprints give equal vectors."""
        return digest(self.name, self._files.digest, str(self.factor), "float32")

    def positions(self, length: int) -> np.ndarray:
        """[length] float64: where in the model's table each token of a text longer than `trained` stands."""
        raise NotImplementedError

    def _inputs(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        length = tokens.shape[1]
        at = np.arange(length, dtype=np.float64) if length <= self.trained else self.positions(length)
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, self.trained - 1)
        share = (at - below)[:, None].astype(np.float32)
        rows = self._rows[below] if not share.any() else self._rows[below] * (1 - share) + self._rows[above] * share
        return {TOKENS: tokens, POSITIONS: rows}

    @cached_property
    def _rows(self) -> np.ndarray:
        return position_rows(self._files.weights)

    @cached_property
    def _session(self) -> Any:
        def build() -> bytes:
            graph, vector = bert_graph(self._files.weights, self._files.config, masked=False, placed=True)
            return graph.serialise(self._takes, vector, self.dim)

        return session(f"{BUILDER}-placed-{self._files.digest}", build)

    @cached_property
    def _token_session(self) -> Any:
        def build() -> bytes:
            graph, rows = token_graph(self._files.weights, self._files.config, placed=True)
            return graph.serialise(self._takes, rows, ["n", "t", self.dim])

        return session(f"{TOKEN_BUILDER}-placed-{self._files.digest}", build)

    @property
    def _takes(self) -> dict[str, tuple[str, list[Any]]]:
        return {TOKENS: ("INT64", ["n", "t"]), POSITIONS: ("FLOAT", ["t", self.dim])}
