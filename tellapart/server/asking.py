"""From what is asked for to the vector that is searched with: words, a picture and examples, taken together."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.data.sound import is_sound
from tellapart.server.limits import PIXELS, check_upload

UNLIKE_WEIGHT = 1.0
KINDS = {"text": "words", "image": "a picture", "series": "a window of a recording"}


class Asking:
    """What can be asked of a model.

    Args:
        model: encodes what is asked for.
        stored: from ids to the [n, d] vectors that the index holds for them.
        composer: makes one vector of a reference's and of what is to change in words, where the run has learnt that.
        items: from ids to what the items of the index are, opened; for a composer that reads these.
    """

    def __init__(
        self,
        model: Any,
        stored: Callable[[Sequence[str]], np.ndarray],
        composer: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        items: Callable[[Sequence[str]], list[Any]] | None = None,
    ) -> None:
        self.model, self.stored, self.composer, self.items = model, stored, composer, items
        self.fuses = bool(getattr(composer, "of_features", False))
        self.words_alone = bool(getattr(composer, "words_alone", False))
        self.changes_alone = composer is not None and not getattr(composer, "of_captions", False)
        sides = {model.sides.query.modality, model.sides.document.modality}
        self.reads: tuple[str, ...] = tuple(m for m in ("text", "image", "series") if m in sides)
        self._reading = threading.Lock()

    def vector(
        self, words: str, image: bytes | None, like: list[str], unlike: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        notes: list[str] = []
        towards = []
        if words:
            self._check_reads("text")
            towards.append(self._words(words, notes))
        if image is not None:
            kind = kind_of("", image)
            self._check_reads(kind)
            towards.append(self._encode(kind, self._decode(image, kind)))
        if like:
            towards.append(unit(self.stored(like).mean(0), "what is liked"))
        away = unit(self.stored(unlike).mean(0), "what is not liked") if unlike else None
        if not towards:
            assert away is not None
            notes.append("These are the items least like those you marked; add words or something you like.")
            return -away, tuple(notes)
        if self.composer is not None and words and (self.changes_alone or len(towards) > 1):
            references = self._references(image, like) if self.fuses else towards[1:]
            z = self._changed(words if self.fuses else towards[0], references, towards[0], notes)
        else:
            z = unit(np.sum(towards, 0), "what is asked for")
        if away is not None:
            z = unit(z - UNLIKE_WEIGHT * max(0.0, float(z @ away)) * away, "what is asked for, less what is not liked,")
        return z, tuple(notes)

    def as_measured(self, words: str, image: bytes | None, like: list[str], unlike: list[str]) -> bool:
        """Whether this is the kind of search that the figures of the run are about, and its probabilities."""
        if like or unlike:
            return False
        if self.changes_alone:
            return bool(words) and (bool(image) or self.words_alone)
        return bool(words) != bool(image) and kind_of(words, image) == self.model.sides.query.modality

    @property
    def measured(self) -> str:
        """What is given in such a search."""
        if self.changes_alone:
            return "words, with or without a picture" if self.words_alone else "a picture with words"
        return f"{KINDS[self.model.sides.query.modality]} alone"

    def _changed(
        self, words: str | np.ndarray, others: list[np.ndarray], alone: np.ndarray, notes: list[str]
    ) -> np.ndarray:
        """The vector of what words make of a picture, or of items to be like.

        Args:
            words: their vector, and `others` vectors; or the words, and `others` features.
            alone: the vector of the words.
        """
        assert self.composer is not None
        if not others:
            if not self.words_alone:
                notes.append(
                    "Words are read as a change here, and nothing to change was given: add a picture or an item."
                )
            return alone
        notes.append("The words are read as what is to change.")
        if isinstance(words, str):
            change = self.model.features("text", [words])
            found = self.composer(np.stack(others), np.repeat(change, len(others), 0))
            return unit(found.mean(0), "what is asked for")
        reference = unit(np.sum(others, 0), "what is to be changed")
        changed: np.ndarray = self.composer(reference[None], words[None])[0]
        return unit(changed, "what is asked for")

    def _references(self, image: bytes | None, like: list[str]) -> list[np.ndarray]:
        """Features of a picture and of items to be like: their tokens are not in the index."""
        assert self.items is not None
        given = [] if image is None else [self._decode(image, kind_of("", image))]
        return list(self.model.features(self.model.sides.document.modality, [*given, *self.items(like)]))

    def _check_reads(self, modality: str) -> None:
        if modality not in self.reads:
            raise DataError(f"this model does not read {KINDS[modality]}; search with {KINDS[self.reads[0]]}")

    def _encode(self, modality: str, item: Any) -> np.ndarray:
        encode = self.model.encode_query if modality == self.model.sides.query.modality else self.model.encode_document
        return unit(np.asarray(encode([item]), np.float32)[0], "the query")

    def opened(self, source: bytes | Path, kind: str) -> Any:
        from tellapart.data.images import open_image
        from tellapart.data.series import open_series

        return open_series(source) if kind == "series" else open_image(source, max_pixels=PIXELS)

    def _decode(self, image: bytes, kind: str) -> Any:
        check_upload(len(image))
        try:
            return self.opened(image, kind)
        except DataError as error:
            raise DataError(
                f"the {'window' if kind == 'series' else 'picture'} you gave cannot be used: {error}"
            ) from None

    def _words(self, words: str, notes: list[str]) -> np.ndarray:
        encoder = getattr(self.model, "encoders", {}).get("text")
        with self._reading:
            before = getattr(encoder, "truncated_", 0)
            z = self._encode("text", words)
            if getattr(encoder, "truncated_", 0) > before:
                reads = getattr(encoder, "max_tokens", None)
                notes.append(
                    "The text is longer than the model reads: it was cut"
                    + (f" after {reads} tokens, about {reads * 3 // 4} words." if reads else ".")
                )
        return z


def kind_of(words: str, file: bytes | None) -> str:
    """The modality of what was given: words, or else a file, which says itself whether it is a picture."""
    start = (file or b"")[:12]
    return "text" if words else "series" if start.startswith(b"\x93NUMPY") or is_sound(start) else "image"


def unit(z: np.ndarray, what: str) -> np.ndarray:
    length = float(np.linalg.norm(z))
    if not math.isfinite(length) or length < 1e-4:
        raise DataError(f"{what} leaves no direction to search in: likes and dislikes cancel out; remove one")
    return (z / length).astype(np.float32)
