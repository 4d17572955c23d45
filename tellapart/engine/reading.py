"""Encoders of texts as audits take them: words in, unit vectors out, and a count of what was longer than is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tellapart.core.features import unit_rows


class Reader:
    """The text encoder of a run, with its heads; or, without a model, a frozen encoder as it is.

    Args:
        encoder: a part of texts; where it counts what it cuts, in `truncated_`.
        model: whose sides both hold texts.
    """

    def __init__(self, encoder: Any, model: Any = None) -> None:
        self.encoder, self.model = encoder, model

    @property
    def cut(self) -> int:
        """How many texts were longer than the encoder reads, so far."""
        return int(getattr(self.encoder, "truncated_", 0))

    def query(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float32 unit vectors of what is searched with."""
        return self._of("query", texts)

    def document(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float32 unit vectors of what is searched."""
        return self._of("document", texts)

    def _of(self, side: str, texts: Sequence[str]) -> np.ndarray:
        features = self.encoder.encode(list(texts))
        return np.asarray(self.model.project(side, features) if self.model else unit_rows(features))
