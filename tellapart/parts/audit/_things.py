"""Things that items have and others lack, by their tags or the nouns of their captions, and pairs of such things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.cues import one_of_each
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.tagging import kinds, words_of

_TAGS, _CAPTIONS, _SHORTEST = ("attributes", "tags", "label"), ("text", "positive"), 3
FEWEST_OTHERS = 20

Ask = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Things:
    """Which items have which things; duplicates count once.

    Attributes:
        rows: [n] rows of the collection; names: of the things; has: [n, things] bool; column: where they are from.
    """

    rows: np.ndarray
    names: list[str]
    has: np.ndarray
    column: str


@dataclass(frozen=True)
class Pair:
    """Two things, a third one, and items: [each] with the first alone, [each] with the second alone, with none.

    All are numbers into `Things`; no item with a thing stands in two pairs.
    """

    first: int
    second: int
    third: int
    mine: np.ndarray
    theirs: np.ndarray
    neither: np.ndarray


def searched(vectors: Mapping[str, Any], collection: Collection) -> tuple[np.ndarray, Ask]:
    """[n, d] unit vectors of what is searched by words, and what makes vectors of such words.

    Raises:
        DataError: no encoder of texts, or not as many vectors as items.
    """
    reader = vectors.get("encoder")
    ask = reader.query if reader is not None else vectors.get("text-encoder")
    name = "k" if "k" in vectors else "text"
    if reader is None:
        on_text = "image" not in vectors and collection.sides().query.modality == "text"
        name = "image" if "image" in vectors else "k" if on_text else "q"
    if ask is None or name not in vectors:
        raise DataError("a model that searches by words is needed: audit one that reads texts")
    z = unit_rows(matrix(vectors[name], what=name))
    if len(z) != len(collection):
        raise DataError(f"{len(z)} vectors, {len(collection)} items: give as many")
    return z, ask


def things_of(
    collection: Collection, column: str, *, items: int, least: int, most: int, rng: np.random.Generator
) -> Things:
    """The `most` frequent things that `least` items or more have, and at most half of them.

    Args:
        column: "" takes `attributes`, `tags`, `text` or `positive`, or else `label`. Of tags and labels a thing is what
            stands there (lists, or words with "|" between); of other columns, every noun of three letters or more.
        items: above this many, so many are drawn.

    Raises:
        DataError: no such column.
    """
    name = column or next((c for c in (*_TAGS[:2], *_CAPTIONS, _TAGS[2]) if c in collection.columns), "")
    if name not in collection.columns:
        raise DataError(f"there is no column {name or 'text'!r} of tags or captions; name one with column=")
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    rows = one_of_each(groups)
    rows = np.sort(rng.choice(rows, items, replace=False)) if len(rows) > items else rows
    held = collection.values(name)
    said = [_tags(held[row]) if name in _TAGS or isinstance(held[row], list) else _nouns(held[row]) for row in rows]
    count: dict[str, int] = {}
    for thing in (thing for one in said for thing in one):
        count[thing] = count.get(thing, 0) + 1
    known = sorted((t for t, c in count.items() if least <= c <= len(rows) / 2), key=lambda t: (-count[t], t))[:most]
    has = np.array([[thing in one for thing in known] for one in said], bool).reshape(len(rows), len(known))
    return Things(rows, known, has, name)


def pairs_of(has: np.ndarray, each: int, others: int, rng: np.random.Generator) -> list[Pair]:
    """Things by twos, none of them in two pairs, where `each` items have the one and not the other, and vice versa.

    The third thing is one that none of these items has; up to `others` items have none of the three.
    """
    left = rng.permutation(has.shape[1]).tolist()
    free, found = np.ones(len(has), bool), []
    while left:
        x = left.pop()
        for y in left:
            able = [np.flatnonzero(free & has[:, a] & ~has[:, b]) for a, b in ((x, y), (y, x))]
            if min(len(rows) for rows in able) < each:
                continue
            mine, theirs = (np.sort(rng.choice(rows, each, replace=False)) for rows in able)
            lacked = np.flatnonzero(~has[np.r_[mine, theirs]].any(axis=0))
            third = int(rng.choice(lacked)) if len(lacked) else x
            neither = np.flatnonzero(~has[:, [x, y, third]].any(axis=1))
            if len(lacked) and len(neither) >= FEWEST_OTHERS:
                drawn = np.sort(rng.choice(neither, min(others, len(neither)), replace=False))
                found.append(Pair(x, y, third, mine, theirs, drawn))
                free[np.r_[mine, theirs]] = False
                left.remove(y)
                break
    return found


def _tags(value: Any) -> set[str]:
    held = value if isinstance(value, list) else str(value or "").split("|")
    return {str(tag).strip() for tag in held if str(tag).strip()}


def _nouns(value: Any) -> set[str]:
    words = words_of(str(value or ""))
    return {
        word.lower()
        for word, kind in zip(words, kinds(words), strict=True)
        if kind == "noun" and len(word) >= _SHORTEST and word.isalpha()
    }
