from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._bert import BUILDER, MASK, TOKENS, bert_graph
from tellapart.parts.encode._bert_folder import BertFolder
from tellapart.parts.encode._onnx import Graph, digest, runs_of_one_length, session, side_by_side, threads_or_all

TOKENS_A_RUN = 512


@part(
    paper="Wang et al., MiniLM, NeurIPS 2020; mean pooling: Reimers and Gurevych, Sentence-BERT, EMNLP 2019",
    place="encode",
    traits=("frozen", "trainable"),
    aliases=("all-minilm-l6-v2",),
)
class MiniLM:
    """all-MiniLM-L6-v2: a text as 384 numbers, without torch.

    Six BERT layers, the mean over the text's tokens, unit length. Frozen, it runs on ONNX Runtime, and only texts of
    one length share a run: no padding is computed, and a text's vector does not depend on its neighbours. For short
    English texts; `sentence-transformer` takes other models.

    Args:
        path: a folder of the sentence-transformers layout with a BERT and mean pooling, such as `save` writes;
            "" is the packaged model.
        max_tokens: longer texts are cut there and counted in `truncated_`.
        threads: 0 means all cores.

    Attributes:
        truncated_: how many texts were cut since this encoder was made.
    """

    modality = "text"

    def __init__(
        self,
        *,
        path: str = "",
        max_tokens: Annotated[int, Field(ge=8, le=512)] = 256,
        threads: Annotated[int, Field(ge=0, le=256)] = 0,
    ) -> None:
        self.path = path
        self.max_tokens = max_tokens
        self.threads = threads
        self.truncated_ = 0

    @property
    def dim(self) -> int:
        """384 for the packaged model."""
        return int(self._files.config["hidden_size"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokeniser, cut and precision: equal fingerprints give equal vectors."""
        return digest("minilm", self._files.digest, str(self.max_tokens), "float32")

    def encode(self, items: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """[n, 384] float32 unit vectors; an empty text has the vector of no words.

        Raises:
            DataError: an item is not a text.
        """
        pieces = self._tokenise(items)
        lengths = np.asarray([len(piece) for piece in pieces], np.int64)
        runs = runs_of_one_length(lengths, tokens=TOKENS_A_RUN, items=batch_size)

        def run(rows: np.ndarray) -> Any:
            return self._session.run(None, {TOKENS: np.asarray([pieces[row] for row in rows], np.int64)})[0]

        vectors = np.empty((len(pieces), self.dim), np.float32)
        for rows, found in zip(runs, side_by_side(run, runs, threads_or_all(self.threads)), strict=True):
            vectors[rows] = found
        return vectors

    def prepare(self, items: Sequence[str]) -> tuple[Any, ...]:
        """The torch inputs of `module()`: token numbers and attention mask, both [n, longest] int64."""
        torch = require("torch", "training minilm")
        return tuple(torch.from_numpy(array) for array in self.feed(items).values())

    def module(self) -> Any:
        """The encoder as a torch module with the same vectors, to be trained; its inputs are those of `prepare`."""
        torch = require("torch", "training minilm")
        from tellapart.parts.encode._bert_torch import Bert

        weights = self._files.weights
        module = Bert(self._files.config)
        module.load_state_dict({name: torch.from_numpy(weights[name].copy()) for name in module.state_dict()})
        return module

    def save(self, folder: str | Path, state: Mapping[str, np.ndarray] | None = None) -> Path:
        """Write a sentence-transformers folder; the state of a trained module takes the place of the weights."""
        self._files.save(state, Path(folder), self.max_tokens)
        return Path(folder)

    def graph(self) -> tuple[Graph, str, dict[str, tuple[str, list[Any]]]]:
        """The encoder as an ONNX graph with a mask: the graph, the name of its output, and its inputs."""
        return *self._graph(masked=True), {name: ("INT64", ["n", "t"]) for name in (TOKENS, MASK)}

    def feed(self, items: Sequence[str]) -> dict[str, np.ndarray]:
        """The inputs of that graph, both [n, longest] int64."""
        pieces = self._tokenise(items)
        lengths = np.asarray([len(piece) for piece in pieces], np.int64)
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        tokens = np.zeros(mask.shape, np.int64)
        tokens[mask] = [token for piece in pieces for token in piece]
        return {TOKENS: tokens, MASK: mask.astype(np.int64)}

    def write_tokenizer(self, file: Path) -> None:
        """The tokeniser of that graph as `tokenizer.json`: cutting at `max_tokens`, padding a batch to its longest."""
        tokenizer = self._files.tokenizer(self.max_tokens)
        tokenizer.enable_padding()
        tokenizer.save(str(file))

    @cached_property
    def _files(self) -> BertFolder:
        return BertFolder(self.path)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._files.tokenizer(self.max_tokens)

    @cached_property
    def _session(self) -> Any:
        def build() -> bytes:
            graph, vector = self._graph(masked=False)
            return graph.serialise({TOKENS: ("INT64", ["n", "t"])}, vector, self.dim)

        return session(f"{BUILDER}-{self._files.digest}", build)

    def _graph(self, *, masked: bool) -> tuple[Graph, str]:
        return bert_graph(self._files.weights, self._files.config, masked=masked)

    def _tokenise(self, items: Sequence[str]) -> list[list[int]]:
        wrong = next((i for i, item in enumerate(items) if not isinstance(item, str)), None)
        if wrong is not None:
            raise DataError(f"minilm takes texts, and item {wrong} is of type {type(items[wrong]).__name__}")
        found = self._tokenizer.encode_batch(list(items))
        self.truncated_ += sum(bool(one.overflowing) for one in found)
        return [one.ids for one in found]
