from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, make, parse_spec, part

SEVERAL = {"tokens", "cells"}


@part(
    paper="(plain baseline: the tokens of another encoder side by side)",
    place="encode",
    traits=("frozen", "composite"),
)
class FlatTokens:
    """The first tokens of an item under another frozen encoder, one after the other: for `strategy=jfe`.

    The vector is [tokens * each]: the rows of `encode_tokens` (pieces of words; cells of a picture), each of length 1,
    and zeros where an item has fewer. Of an encoder that has none it is the one vector, brought to length 1. It takes
    `tokens` times the room of a plain vector: 24 word pieces of minilm are 36 KiB a text, 4 cells of lite0 20 KiB a
    picture.

    Args:
        encoder: as a recipe names it.
        tokens: items with more are cut there, and counted in `truncated_`.

    Attributes:
        truncated_: how many items were cut since this encoder was made.

    Raises `PartError` for an encoder that is not frozen; `DataError` for items that the encoder refuses.
    """

    def __init__(
        self,
        *,
        encoder: Annotated[str, Field(min_length=1)] = "minilm",
        tokens: Annotated[int, Field(ge=1, le=512)] = 24,
    ) -> None:
        self.encoder = encoder
        self.tokens = tokens
        self.truncated_ = 0

    @cached_property
    def _encoder(self) -> Any:
        if "frozen" not in self._traits:
            raise PartError(f"flat-tokens takes a frozen encoder, and {self.encoder} is none")
        return make("encode", self.encoder)

    @cached_property
    def _traits(self) -> set[str]:
        return set(card_of("encode", parse_spec(self.encoder)[0]).traits)

    @property
    def modality(self) -> str:
        """That of the encoder."""
        found: str = self._encoder.modality
        return found

    @property
    def dim(self) -> int:
        """Numbers of all tokens."""
        return int(self.tokens * self._encoder.dim)

    @property
    def max_tokens(self) -> int:
        """How many tokens of an item are read."""
        return self.tokens

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on."""
        return hashlib.sha256(f"flat-tokens 1 {self.tokens} {self._encoder.fingerprint}".encode()).hexdigest()[:32]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, tokens * each] float32."""
        each = self._encoder.dim
        found = np.zeros((len(items), self.tokens, each), np.float32)
        if not self._traits & SEVERAL:
            x = self._encoder.encode(items, batch_size=batch_size)
            found[:, 0] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        else:
            for row, rows in zip(found, self._encoder.encode_tokens(items, batch_size=batch_size), strict=True):
                row[: len(rows)] = rows[: self.tokens]
                self.truncated_ += len(rows) > self.tokens
        return found.reshape(len(items), self.dim)
