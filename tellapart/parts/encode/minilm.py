from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._bert import MASK, TOKENS, bert_graph
from tellapart.parts.encode._bert_texts import BertTexts
from tellapart.parts.encode._onnx import Graph, digest


@part(
    paper="Wang et al., MiniLM, NeurIPS 2020; mean pooling: Reimers and Gurevych, Sentence-BERT, EMNLP 2019",
    place="encode",
    traits=("frozen", "trainable", "tokens"),
    aliases=("all-minilm-l6-v2",),
)
class MiniLM(BertTexts):
    """all-MiniLM-L6-v2: a text as 384 numbers, without torch.

    Six BERT layers, the mean over the text's tokens, unit length. Frozen, it runs on ONNX Runtime, and only texts of
    one length share a run: no padding is computed, and a text's vector does not depend on its neighbours. For short
    English texts; `sentence-transformer` takes other models. `encode_tokens` gives a vector for each word piece.

    Args:
        path: a folder of the sentence-transformers layout with a BERT and mean pooling, such as `save` writes;
            "" is the packaged model.
        max_tokens: longer texts are cut there and counted in `truncated_`.
        threads: 0 means all cores.

    Attributes:
        truncated_: how many texts were cut since this encoder was made.
    """

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

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokeniser, cut and precision: equal fingerprints give equal vectors."""
        return digest("minilm", self._files.digest, str(self.max_tokens), "float32")

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
        graph, vector = bert_graph(self._files.weights, self._files.config, masked=True)
        return graph, vector, {name: ("INT64", ["n", "t"]) for name in (TOKENS, MASK)}

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
