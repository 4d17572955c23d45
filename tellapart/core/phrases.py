"""Which phrases stand in which texts, and which of them stand in one set of texts more than in another. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.core.shortcuts import SMALL_WORDS
from tellapart.core.tagging import words_of

PRIOR = 10.0
_SMALL = frozenset(SMALL_WORDS)


@dataclass(frozen=True)
class Phrases:
    """Phrases by name, and the rows of the texts that have each.

    Attributes:
        names: the phrases; `rows`: [phrases] rising int64 rows; `broader`: which of them are what a word is a kind of.
    """

    count: int
    names: list[str]
    rows: list[np.ndarray]
    broader: list[bool]

    def has(self, number: int) -> np.ndarray:
        """[n] bool, the texts that have a phrase."""
        out = np.zeros(self.count, bool)
        out[self.rows[number]] = True
        return out

    def odds(self, inside: np.ndarray, among: np.ndarray) -> np.ndarray:
        """[phrases] by how many standard errors the log odds of a phrase are higher inside than outside.

        The odds of y of n texts are (y + a s) / (n - y + a (1 - s)), s the phrase's share in all texts and a = 10:
        a prior that keeps rare phrases from the top (Monroe, Colaresi and Quinn, Political Analysis 2008, with texts
        that have the phrase in place of words).

        Args:
            inside, among: [n] bool; only texts of `among` are looked at.
        """
        here, there = inside & among, ~inside & among
        n = np.array([here.sum(), there.sum()], float)
        y = np.array([[here[rows].sum(), there[rows].sum()] for rows in self.rows], float).reshape(-1, 2)
        share = np.clip(y.sum(axis=1, keepdims=True) / max(1.0, n.sum()), 1e-9, 1 - 1e-9)
        yes, no = y + PRIOR * share, n - y + PRIOR * (1 - share)
        log = np.log(yes) - np.log(no)
        found: np.ndarray = (log[:, 0] - log[:, 1]) / np.sqrt((1 / yes + 1 / no).sum(axis=1))
        return found


def phrases_of(
    texts: Sequence[str | None],
    *,
    longest: int,
    least: int,
    broader: Callable[[str], tuple[str, ...]] | None = None,
) -> Phrases:
    """Runs of up to `longest` words that do not begin or end with a small one, in `least` texts or more and not in all.

    Args:
        broader: from a phrase to what it is a kind of, which a text with it has too.
    """
    found: dict[str, list[int]] = {}
    said: set[str] = set()
    for row, text in enumerate(texts):
        words = [word.lower() for word in words_of(str(text or ""))]
        mine = set()
        for length in range(1, longest + 1):
            for start in range(len(words) - length + 1):
                run = words[start : start + length]
                if run[0] not in _SMALL and run[-1] not in _SMALL and any(c.isalpha() for c in run[0]):
                    mine.add(" ".join(run))
        said |= mine
        above = {name for phrase in mine for name in (broader(phrase) if broader else ())}
        for phrase in mine | above:
            found.setdefault(phrase, []).append(row)
    kept = sorted(name for name, rows in found.items() if least <= len(rows) < len(texts))
    return Phrases(len(texts), kept, [np.array(found[name]) for name in kept], [name not in said for name in kept])
