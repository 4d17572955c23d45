"""What encoders of texts by a BERT share: cutting into word pieces, and runs of texts of one length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.parts.encode._bert import BUILDER, TOKEN_BUILDER, TOKENS, bert_graph, token_graph
from tellapart.parts.encode._bert_folder import BertFolder
from tellapart.parts.encode._onnx import runs_of_one_length, session, side_by_side, threads_or_all

TOKENS_A_RUN = 512
ENDS = 2


class BertTexts:
    """Texts as vectors, and as a vector for each of their word pieces.

    A part that inherits it stores `path`, `max_tokens` and `threads`, and sets `truncated_` to 0.
    """

    modality = "text"
    path: str
    max_tokens: int
    threads: int
    truncated_: int

    @property
    def dim(self) -> int:
        """Width of the vectors: 384 for the packaged model."""
        return int(self._files.config["hidden_size"])

    def encode(self, items: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """[n, 384] float32 unit vectors; an empty text has the vector of no words.

        Raises:
            DataError: an item is not a text.
        """
        pieces = self._tokenise(items)
        vectors = np.empty((len(pieces), self.dim), np.float32)
        for rows, found in self._runs(pieces, batch_size, self._session):
            vectors[rows] = found
        return vectors

    def encode_tokens(self, items: Sequence[str], *, batch_size: int = 64) -> list[np.ndarray]:
        """A matrix [t, 384] float32 of unit rows for each text: one for each word piece, in the order of the text.

        The last layer's states, before their mean. [CLS] and [SEP] are left out, but for a text without words, which
        has nothing else. What is cut is counted in `truncated_`.

        Raises:
            DataError: an item is not a text.
        """
        pieces = self._tokenise(items)
        found: list[np.ndarray] = [np.empty(0)] * len(pieces)
        for rows, states in self._runs(pieces, batch_size, self._token_session):
            inner = states[:, 1:-1] if states.shape[1] > ENDS else states
            for row, state in zip(rows.tolist(), inner, strict=True):
                found[row] = state.copy()
        return found

    @cached_property
    def _files(self) -> BertFolder:
        return BertFolder(self.path)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._files.tokenizer(self.max_tokens)

    @cached_property
    def _session(self) -> Any:
        def build() -> bytes:
            graph, vector = bert_graph(self._files.weights, self._files.config, masked=False)
            return graph.serialise({TOKENS: ("INT64", ["n", "t"])}, vector, self.dim)

        return session(f"{BUILDER}-{self._files.digest}", build)

    @cached_property
    def _token_session(self) -> Any:
        def build() -> bytes:
            graph, rows = token_graph(self._files.weights, self._files.config)
            return graph.serialise({TOKENS: ("INT64", ["n", "t"])}, rows, ["n", "t", self.dim])

        return session(f"{TOKEN_BUILDER}-{self._files.digest}", build)

    def _runs(self, pieces: list[list[int]], batch_size: int, session: Any) -> Any:
        """(rows, what the session gives for them) for runs of texts of one length, which need no padding."""
        lengths = np.asarray([len(piece) for piece in pieces], np.int64)
        runs = runs_of_one_length(lengths, tokens=TOKENS_A_RUN, items=batch_size)

        def run(rows: np.ndarray) -> Any:
            return session.run(None, self._inputs(np.asarray([pieces[row] for row in rows], np.int64)))[0]

        return zip(runs, side_by_side(run, runs, threads_or_all(self.threads)), strict=True)

    def _inputs(self, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """What the sessions take for tokens [n, t]."""
        return {TOKENS: tokens}

    def _tokenise(self, items: Sequence[str]) -> list[list[int]]:
        wrong = next((i for i, item in enumerate(items) if not isinstance(item, str)), None)
        if wrong is not None:
            raise DataError(f"minilm takes texts, and item {wrong} is of type {type(items[wrong]).__name__}")
        found = self._tokenizer.encode_batch(list(items))
        self.truncated_ += sum(bool(one.overflowing) for one in found)
        return [one.ids for one in found]
