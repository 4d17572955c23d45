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
        several: give all vectors of a text, as `encode_tokens` has them.
    """

    def __init__(self, encoder: Any, model: Any = None, *, several: bool = False) -> None:
        self.encoder, self.model, self.several = encoder, model, several

    @property
    def cut(self) -> int:
        """How many texts were longer than the encoder reads, so far."""
        return int(getattr(self.encoder, "truncated_", 0))

    def query(self, texts: Sequence[str]) -> Any:
        """[n, d] float32 unit vectors of what is searched with; a list of [t, d] where there are several a text."""
        return self._of("query", texts)

    def document(self, texts: Sequence[str]) -> Any:
        """The same of what is searched."""
        return self._of("document", texts)

    def _of(self, side: str, texts: Sequence[str]) -> Any:
        if self.several:
            return [self._unit(side, rows) for rows in self.encoder.encode_tokens(list(texts))]
        return self._unit(side, self.encoder.encode(list(texts)))

    def _unit(self, side: str, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.project(side, features) if self.model else unit_rows(features))


class Tower:
    """A side of a model as audits take it: items in, unit vectors out; encoder and layers are there to be looked into.

    Attributes:
        encoder: the frozen part; stages: the dense layers behind it, as `Model.stages` has them.
    """

    def __init__(self, model: Any, side: Any, modality: str) -> None:
        self.model, self.side, self.encoder = model, side, model.encoders[modality]
        self.stages = model.stages(side)

    def __call__(self, items: Sequence[Any]) -> np.ndarray:
        """[n, d] unit vectors."""
        return np.asarray(self.model.project(self.side, self.encoder.encode(list(items))))
