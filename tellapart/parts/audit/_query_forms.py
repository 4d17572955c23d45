"""Forms of a query that mean the same: capitals, accents, punctuation, small words, a spelling mistake."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import numpy as np

from tellapart.core.shortcuts import SMALL_WORDS

Way = Callable[[str, np.random.Generator], str]
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_ACCENTED = ("LATIN", "GREEK")


def _no_accents(text: str, rng: np.random.Generator) -> str:
    kept, base = "", ""
    for sign in unicodedata.normalize("NFD", text):
        base = base if unicodedata.combining(sign) else unicodedata.name(sign, "")
        kept += "" if unicodedata.combining(sign) and base.startswith(_ACCENTED) else sign
    return unicodedata.normalize("NFC", kept)


def _no_punctuation(text: str, rng: np.random.Generator) -> str:
    return " ".join("".join(" " if unicodedata.category(s).startswith("P") else s for s in text).split())


def _no_small_words(text: str, rng: np.random.Generator) -> str:
    return " ".join(word for word in text.split() if word.lower() not in SMALL_WORDS)


def _misspelt(text: str, rng: np.random.Generator) -> str:
    words = list(_LONG_WORD.finditer(text))
    if not words:
        return text
    word = words[int(rng.integers(len(words)))]
    at, how = int(rng.integers(word.start() + 1, word.end() - 1)), int(rng.integers(4))
    other = sorted(set("".join(w.group() for w in words).lower()) - {text[at].lower()}) or [text[at]]
    after = text[at + 1 :]
    put = ("", text[at] * 2, other[int(rng.integers(len(other)))], text[at + 1] + text[at])[how]
    return text[:at] + put + (after[1:] if how == 3 else after)


WAYS: dict[str, Way] = {
    "capitals": lambda text, rng: text.upper(),
    "small letters": lambda text, rng: text.lower(),
    "no accents": _no_accents,
    "no punctuation": _no_punctuation,
    "no small words": _no_small_words,
    "a spelling mistake": _misspelt,
}
