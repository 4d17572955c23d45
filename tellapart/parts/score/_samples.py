"""An equal sample of the texts of every source, out of a stream: what a score part that compares sources reads."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.parts.score import _hashed

SOURCES = 2000


@dataclass(frozen=True)
class Seen:
    """What is kept of a stream.

    Attributes:
        kept: for each source, by name, some texts by their hash; total: [buckets] summed features of the target's
            texts; count: how many these are.
    """

    kept: dict[str, dict[int, str]]
    total: np.ndarray
    count: int


def taken_in(seen: Seen, x: Iterable[str], y: Iterable[Any], *, sample: int) -> Seen:
    """With further texts, each marked True (target) or with the name of its source; texts without words are left out.

    Of a source those `sample` different texts of the lowest hashes are kept, so that it matters not what came first.

    Raises:
        DataError: what is no text or no mark, more or fewer marks than texts, no target, one source or too many.
    """
    kept, total, count = {name: dict(of) for name, of in seen.kept.items()}, seen.total, seen.count
    marks = iter(y)
    for texts in _hashed.blocks(x):
        names = [_source(mark) for _, mark in zip(texts, marks, strict=False)]
        if len(names) < len(texts):
            raise DataError("every text needs one mark in y: True (target) or the name of its source")
        wanted = [t for t, name in zip(texts, names, strict=True) if name is None and _hashed.has_words(t)]
        total, count = total + features(wanted, len(total)).sum(axis=0), count + len(wanted)
        for text, name in zip(texts, names, strict=True):
            if name is not None and _hashed.has_words(text):
                kept.setdefault(name, {})[_hashed.number(text)] = text
        if len(kept) > SOURCES:
            raise DataError(
                f"more than {SOURCES} sources: `source` is to say where items came from, not which they are"
            )
        for name, of in kept.items():
            if len(of) > sample:
                kept[name] = {h: of[h] for h in heapq.nsmallest(sample, of)}
    if next(marks, None) is not None:
        raise DataError("every text needs one mark in y, and there are more marks than texts")
    if not count:
        raise DataError("the target holds no words: mark some texts as target, with True")
    if len(kept) < 2:
        raise DataError(f"sources are compared, and the pool's texts are of {len(kept)}: two are needed")
    return Seen(dict(sorted(kept.items())), total, count)


def features(texts: list[str], buckets: int) -> np.ndarray:
    """[n, buckets] square roots of the share of each counter among the words of a text; 0 without words."""
    tokens, owner = _hashed.marked(texts)
    within = _hashed.inside(owner)
    words = within & np.append(within[1:], False)  # neither start nor end mark
    ids = next(iter(_hashed.grams(tokens, owner, longest=1, buckets=buckets)))[0][words]
    counts = np.bincount(owner[words] * buckets + ids, minlength=len(texts) * buckets).reshape(len(texts), buckets)
    found: np.ndarray = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return found


def _source(mark: Any) -> str | None:
    """The name of a source, None for the target."""
    if isinstance(mark, bool | np.bool_):
        if mark:
            return None
    elif isinstance(mark, int | np.integer) or (isinstance(mark, str) and mark):
        return str(mark)
    raise DataError(f"every text needs one mark in y: True (target) or the name of its source, not {mark!r}")
