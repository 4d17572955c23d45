from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.errors import DataError, PartError
from tellapart.core.maths import unit
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._bert_folder import packaged_folder
from tellapart.parts.encode._torch import weights_digest


@part(
    paper="Reimers and Gurevych, Sentence-BERT, EMNLP 2019; the library sentence-transformers",
    place="encode",
    traits=("frozen", "trainable"),
    needs=("torch", "sentence_transformers"),
)
class SentenceTransformer:
    """Any text model that the library sentence-transformers loads: a folder, or a name on the hub.

    Vectors have unit length. Weights are read from safetensors only, and code that a model brings along is not run.

    Args:
        path: folder or hub name; "" is the packaged all-MiniLM-L6-v2, for which `minilm` is faster.
        prompt: put before every text, as some models want it (`"query: "`); one encoder has one prompt.

    Attributes:
        truncated_: how many texts were longer than the model reads, since this encoder was made.
    """

    modality = "text"

    def __init__(self, *, path: str = "", prompt: str = "") -> None:
        self.path = path
        self.prompt = prompt
        self.truncated_ = 0

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._model.get_embedding_dimension())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, cut and prompt."""
        return weights_digest(self._model, "sentence-transformer", str(self._model.max_seq_length), self.prompt)

    def encode(self, items: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """[n, dim] float32 unit vectors.

        Raises:
            DataError: an item is not a text.
        """
        texts = self._texts(items)
        vectors: np.ndarray = self._model.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors.astype(np.float32, copy=False).reshape(len(texts), self.dim)

    def prepare(self, items: Sequence[str]) -> tuple[Tensor, ...]:
        """The inputs of `module()`: token numbers and attention mask."""
        found = self._model.preprocess(self._texts(items))
        return found["input_ids"], found["attention_mask"]

    def module(self) -> nn.Module:
        """The model, to be trained: (token numbers, attention mask) -> [n, dim] unit vectors."""
        return _Tokens(self._load())

    def save(self, folder: str | Path, state: Mapping[str, np.ndarray] | None = None) -> Path:
        """Write a sentence-transformers folder; the state of a trained module takes the place of the weights."""
        model = self._load()
        if state is not None:
            _Tokens(model).load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
        model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
        return Path(folder)

    @cached_property
    def _model(self) -> Any:
        return self._load().eval()

    def _load(self) -> Any:
        library = require("sentence_transformers", "sentence-transformer")
        path = self.path or str(packaged_folder())
        try:
            return library.SentenceTransformer(path, model_kwargs={"use_safetensors": True})
        except (OSError, ValueError, ImportError) as error:
            words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PartError(f"sentence-transformer: {path} cannot be loaded: {words}") from None

    def _texts(self, items: Sequence[str]) -> list[str]:
        wrong = next((i for i, item in enumerate(items) if not isinstance(item, str)), None)
        if wrong is not None:
            raise DataError(f"sentence-transformer takes texts, and item {wrong} is a {type(items[wrong]).__name__}")
        texts = [self.prompt + item for item in items]
        limit = self._model.max_seq_length
        if texts and limit:
            whole = self._model.tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]
            self.truncated_ += sum(len(tokens) > limit for tokens in whole)
        return texts


class _Tokens(nn.Module):
    """A sentence-transformers model called with tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return unit(self.model({"input_ids": tokens, "attention_mask": mask})["sentence_embedding"])
