"""Subgroups of items, as a strategy of the trait `subgroups` names them: values of a column, or words of captions."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import parse_spec
from tellapart.core.tagging import words_of

TEXTS = ("caption", "text", "positive", "anchor")


def subgroups(collection: Collection, strategy: str) -> np.ndarray:
    """[n] int64 numbers; -1 where a column has no value.

    Raises:
        DataError: no such column, or keywords and no captions.
    """
    options = parse_spec(strategy)[1]
    column, words = str(options.get("column", "")), str(options.get("keywords", ""))
    if column:
        return collection.codes(column)[0]
    if not words:
        return np.zeros(len(collection), np.int64)
    said = next((name for name in TEXTS if name in collection.columns), None)
    if said is None:
        raise DataError(f"keywords are looked for in captions, and there is no column {' or '.join(TEXTS)}")
    return with_keywords(collection.values(said), words.split("|"))


def with_keywords(texts: list[str | None], keywords: list[str]) -> np.ndarray:
    """[n] which of the keywords a text has, the first one counted from 1; 0 where it has none."""
    wanted = [[word.lower() for word in words_of(keyword)] for keyword in keywords]
    out = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        words = [word.lower() for word in words_of(str(text or ""))]
        for number, run in enumerate(wanted, 1):
            if run and any(words[i : i + len(run)] == run for i in range(len(words) - len(run) + 1)):
                out[row] = number
                break
    return out
