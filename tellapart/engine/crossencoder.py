"""A cross-encoder, which reads both texts of a pair at once: a second opinion on mined pairs, and a scorer of hits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.errors import DataError, PartError
from tellapart.core.needs import require


class CrossEncoder:
    """How well two texts belong together, read at once, by a folder of the library sentence-transformers.

    Weights are read from safetensors only, and code that a model brings along is not run.

    Args:
        folder: as `CrossEncoder.save_pretrained` writes it; a name on the hub where there is one.

    Raises:
        PartError: a model that cannot be loaded, or that gives more than one number a pair.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """[n] float32 scores of n pairs of texts."""
        pairs = list(zip(queries, documents, strict=True))
        if any(not isinstance(text, str) for pair in pairs for text in pair):
            raise DataError("a cross-encoder reads pairs of texts, and was given something else")
        scores: np.ndarray = self._model.predict(pairs, batch_size=64, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(scores, np.float32)

    @cached_property
    def name(self) -> str:
        """Changes with the weights."""
        digest = hashlib.blake2b(digest_size=12)
        for name, x in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(x.float().numpy()).data)
        return f"cross-encoder {digest.hexdigest()}"

    @cached_property
    def _model(self) -> Any:
        library = require("sentence_transformers", "a cross-encoder")
        try:
            model = library.CrossEncoder(self.folder, model_kwargs={"use_safetensors": True})
        except (OSError, ValueError, ImportError) as error:
            words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PartError(f"the cross-encoder {self.folder} cannot be loaded: {words}") from None
        if model.num_labels != 1:
            raise PartError(f"{self.folder} gives {model.num_labels} numbers a pair, and one is needed")
        return model.eval()


class CrossEncoderCheck:
    """How well the two texts of a pair belong together, by a folder of the library sentence-transformers.

    Weights are read from safetensors only, and code that a model brings along is not run.

    Args:
        folder: as `CrossEncoder.save_pretrained` writes it; a name on the hub where there is one.
        anchors, documents: the texts by row.

    Raises:
        DataError: items that are no texts.
        PartError: a model that cannot be loaded, or that gives more than one number a pair.
    """

    def __init__(self, folder: str, anchors: pa.ChunkedArray, documents: pa.ChunkedArray) -> None:
        if any(not pa.types.is_string(column.type) for column in (anchors, documents)):
            raise DataError("a cross-encoder reads pairs of texts, and this collection has something else on a side")
        self.model, self.anchors, self.documents = CrossEncoder(folder), anchors, documents

    def __call__(self, queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """[n] float32 scores of (query row, document row)."""
        columns = (self.anchors.take(pa.array(queries)), self.documents.take(pa.array(documents)))
        return self.model(*(c.to_pylist() for c in columns))

    @property
    def name(self) -> str:
        """Changes with the weights."""
        return self.model.name
