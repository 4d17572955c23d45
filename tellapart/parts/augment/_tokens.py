"""Edits of single tokens of a text: what the augmentations of words share."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

WORDS = re.compile(r"\w+|[^\w\s]")
KEPT = 0.2


def in_words(text: str) -> tuple[list[str], list[int]]:
    """A text cut into pieces that make it up again, and which of these are words or single signs."""
    pieces, places, end = [], [], 0
    for found in WORDS.finditer(text):
        if found.start() > end:
            pieces.append(text[end : found.start()])
        places.append(len(pieces))
        pieces.append(found.group())
        end = found.end()
    return ([*pieces, text[end:]] if end < len(text) else pieces), places


def some(places: Sequence[int], share: float, rng: np.random.Generator) -> list[int]:
    """Each of the places with this chance, in order."""
    chosen = rng.random(len(places)) < share
    return [place for place, taken in zip(places, chosen, strict=True) if taken]


def bert_masked(pieces: list[str], places: list[int], share: float, mask: str, rng: np.random.Generator) -> list[str]:
    """The pieces with some of them masked (80%), another of the places' (10%) or as they were (10%)."""
    made = list(pieces)
    for place in some(places, share, rng):
        what, other = rng.random(), places[int(rng.integers(len(places)))]
        if what < 0.8:
            made[place] = mask
        elif what < 0.9:
            made[place] = pieces[other]
    return made


def mostly(chosen: list[int], rng: np.random.Generator) -> list[int]:
    """Four in five of the chosen places: the rest stay as they are."""
    return some(chosen, 1 - KEPT, rng)
