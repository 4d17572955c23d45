"""Streams of texts as hashed words and n-grams: what score parts that count words read."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from tellapart.core.errors import DataError

_TOKEN = re.compile(r"\w+|[^\w\s]+")
_TEXTS, _LETTERS = 1024, 1 << 20
_START, _END = 0x243F6A8885A308D3, 0x13198A2E03707344
_FACTORS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(31)


def blocks(x: Iterable[str]) -> Iterator[list[str]]:
    """The texts of a stream, at most 1,024 at a time, and no more once they have a million letters.

    Raises:
        DataError: one text in place of many, or something that is no text.
    """
    if isinstance(x, str | bytes):
        raise DataError("give a list of texts, not one text")
    block: list[str] = []
    letters = 0
    for text in x:
        if not isinstance(text, str):
            raise DataError(f"texts are needed, and one of the items is {type(text).__name__}")
        block.append(text)
        letters += len(text)
        if len(block) == _TEXTS or letters >= _LETTERS:
            yield block
            block, letters = [], 0
    if block:
        yield block


def has_words(text: str) -> bool:
    """Whether there is a word or a run of punctuation in a text."""
    return _TOKEN.search(text) is not None


def marked(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """([m] uint64 of start mark, lower-case words and runs of punctuation, end mark of every text, [m] whose it is)."""
    found = [[_START, *map(_known, _TOKEN.findall(text.lower())), _END] for text in texts]
    owner = np.repeat(np.arange(len(texts)), [len(words) for words in found])
    return np.fromiter((word for words in found for word in words), dtype=np.uint64), owner


def grams(
    tokens: np.ndarray, owner: np.ndarray, *, longest: int, buckets: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For n-grams of 1, 2 .. `longest`: ([m] bucket of that which ends at each token, [m] whether one does)."""
    joined, there = np.zeros_like(tokens), np.ones(len(tokens), dtype=bool)
    same = inside(owner)
    for _ in range(longest):
        joined = (joined ^ (joined >> _HALF)) * _FACTORS[0] + tokens
        mixed = (joined ^ (joined >> _HALF)) * _FACTORS[1]
        yield ((mixed ^ (mixed >> _HALF)) % np.uint64(buckets)).astype(np.int64), there
        joined, there = before(joined), before(there) & same


def inside(owner: np.ndarray) -> np.ndarray:
    """[m] whether the token before is of the same text."""
    return np.concatenate([np.zeros_like(owner[:1], dtype=bool), owner[1:] == owner[:-1]])


def before(x: np.ndarray) -> np.ndarray:
    """The value of the token before, 0 at the first."""
    return np.concatenate([np.zeros_like(x[:1]), x[:-1]])


def number(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


_known = functools.lru_cache(maxsize=1 << 17)(number)  # for words: texts would be held by it
