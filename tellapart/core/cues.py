"""Cues: what else than its class tells items apart, how surely it goes with the class, and what hangs on it.

The laboratory that parts about shortcuts share: cues of a table's columns (those of pictures are in `picture_cues`),
which value of a cue is usual for a class, accuracy where a cue agrees and where it does not, and the diagonal of two
cues, on which they say the same, beside all that lies off it. numpy only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.redraw import Z
from tellapart.core.shortcuts import SMALL_WORDS

MOST_VALUES, FEWEST_OF_A_VALUE = 20, 10
PLAIN = ("id", "hash", "group", "near", "link", "split", "image", "text", "target", "document_id")

_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True)
class Cue:
    """Something that an item has one of a few values of.

    Attributes:
        name: in words, stable.
        codes: [n] numbers of `values`, -1 where it is not known.
    """

    name: str
    codes: np.ndarray
    values: list[str]

    def take(self, rows: np.ndarray) -> Cue:
        """The same cue of some of the items."""
        return Cue(self.name, self.codes[rows], self.values)


@dataclass(frozen=True)
class Agreement:
    """How much more often items come out right whose cue agrees with their class, class by class.

    Attributes:
        value: the mean over classes, weighted as Mantel and Haenszel do.
        p: the chance of as much more where the cue is dealt at random within every class.
        parts: [n] what the value is the mean of.
        inside, outside: how many items agree and how many do not, in classes that have both.
    """

    value: float
    low: float
    high: float
    p: float
    inside: int
    outside: int
    parts: np.ndarray


def one_of_each(groups: np.ndarray) -> np.ndarray:
    """Rows of the first item of every group: duplicates are one observation."""
    return np.sort(np.unique(groups, return_index=True)[1])


def coded(name: str, values: Sequence[str | None], *, most: int = MOST_VALUES) -> Cue | None:
    """A cue of values that ten items share; None where fewer than two are, or more than `most`."""
    given = np.array(["" if v is None else str(v) for v in values])
    found, codes, count = np.unique(given, return_inverse=True, return_counts=True)
    kept = count >= FEWEST_OF_A_VALUE
    if not 2 <= kept.sum() <= most or len(found) > 5 * most:
        return None
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return Cue(name, number[codes], [str(v) or "(empty)" for v in found[kept]])


def of_columns(collection: Collection, *, but: Sequence[str] = ()) -> list[Cue]:
    """The columns of few values as cues, in their order, but for those that a reader gave a meaning."""
    found = []
    for name in collection.columns:
        if name in PLAIN or name in but:
            continue
        values = collection.values(name)
        if not any(isinstance(v, (list, dict, bytes)) for v in values):
            found.append(coded(name, values))
    return [cue for cue in found if cue is not None]


def usual(codes: np.ndarray, y: np.ndarray, classes: int, values: int) -> np.ndarray:
    """[classes, values] how much larger the share of a value is in a class than in all: above 0 it is usual there.

    Args:
        codes: [n] values, none unknown; y: [n] classes; a class without items has 0 everywhere.
    """
    table = np.zeros((classes, values))
    np.add.at(table, (y, codes), 1)
    count = table.sum(axis=1, keepdims=True)
    found: np.ndarray = np.where(count > 0, table / np.maximum(count, 1) - table.sum(axis=0) / max(1, len(y)), 0)
    return found


def together(codes: np.ndarray, y: np.ndarray, agrees: np.ndarray) -> float:
    """The chance that a cue agrees as often, `agrees` [classes, values], where it is dealt to the items at random.

    The number that agree is a sum over a permutation, whose mean and variance Hoeffding gave (Annals of Mathematical
    Statistics 1951); the tail is that of the normal distribution with a half taken off.
    """
    n = len(y)
    if n < 2:
        return 1.0
    score = agrees.astype(float)
    by_class = np.bincount(y, minlength=len(score)) / n
    by_value = np.bincount(codes, minlength=score.shape[1]) / n
    off = score - (score @ by_value)[:, None] - by_class @ score + by_class @ score @ by_value
    deviation = math.sqrt(n * n / (n - 1) * float(by_class @ (off**2) @ by_value))
    above = float(score[y, codes].sum() - n * (by_class @ score @ by_value)) - 0.5
    return upper_tail(above / deviation) if deviation > 0 else 1.0


def agreement(right: np.ndarray, agree: np.ndarray, strata: np.ndarray) -> Agreement | None:
    """Accuracy where a cue agrees less that where it does not, within strata; None for fewer than 5 of either.

    d = sum_h w_h (r_h1 / m_h1 - r_h0 / m_h0) / sum_h w_h, w_h = m_h1 m_h0 / (m_h1 + m_h0), over strata h with m_h1
    items that agree and m_h0 that do not, of which r are right (Mantel and Haenszel). p is the upper tail of their
    test, a half taken off; the interval is of the binomial variance of every share, each moved by a half.

    Args:
        right: [n] 0 or 1; agree: [n] bool; strata: [n] codes.
    """
    size = int(strata.max()) + 1 if len(strata) else 0
    yes, no = (np.bincount(strata[mine], minlength=size).astype(float) for mine in (agree, ~agree))
    whole = np.bincount(strata, right, minlength=size)
    hit = np.bincount(strata[agree], right[agree], minlength=size)
    both = (yes > 0) & (no > 0)
    inside, outside = int(yes[both].sum()), int(no[both].sum())
    if min(inside, outside) < 5:
        return None
    yes, no, whole, hit = yes[both], no[both], whole[both], hit[both]
    n = yes + no
    weight = yes * no / n / (yes * no / n).sum()
    value = float(weight @ (hit / yes - (whole - hit) / no))
    moved = [(k + 0.5) / (m + 1) for k, m in ((hit, yes), (whole - hit, no))]
    wide = Z * math.sqrt(sum(float(weight**2 @ (q * (1 - q) / m)) for q, m in zip(moved, (yes, no), strict=True)))
    spread = float((yes * no * whole * (n - whole) / (n**2 * np.maximum(n - 1, 1))).sum())
    above = float((hit - yes * whole / n).sum()) - 0.5
    p = upper_tail(above / math.sqrt(spread)) if spread > 0 else 1.0
    share = np.zeros((2, size))
    share[1, both], share[0, both] = weight / yes, -weight / no
    parts = share[agree.astype(int), strata] * right * len(right)
    return Agreement(value, max(-1.0, value - wide), min(1.0, value + wide), p, inside, outside, parts)


def upper_tail(z: float) -> float:
    """The chance of a normal number above z."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def tags_of(collection: Collection) -> tuple[list[set[str]], str]:
    """(the tags of every item, the column they are from): a column `attributes` or `tags`, or words of the texts.

    A column of tags holds lists, or words with "|" between. Of texts, words of three letters or more that are none of
    the small words are taken.

    Raises:
        DataError: none of these.
    """
    for name in ("attributes", "tags"):
        if name in collection.columns:
            held = collection.values(name)
            split = [[v.strip() for v in one.split("|")] if isinstance(one, str) else list(one or []) for one in held]
            return [{str(v) for v in one if str(v)} for one in split], name
    if "text" not in collection.columns:
        raise DataError("there are no tags: give a column `attributes` or `tags` with '|' between them, or captions")
    small = set(SMALL_WORDS)
    words = [set(_WORD.findall(str(text or "").lower())) for text in collection.values("text")]
    return [{w for w in one if w not in small} for one in words], "text"
