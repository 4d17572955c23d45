"""Rows of a table with values dropped and letters mistyped."""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part

_BETWEEN_CELLS, _BETWEEN_WORDS = re.compile(r"(\s*[;|\n]\s*)"), re.compile(r"(\s+)")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@part(
    paper="Ji, Luo, Bao, Culpepper, Robust Table Integration in Data Lakes, arXiv 2024",
    place="augment",
    system="table-integration",
    traits=("words", "label"),
)
def spoil_row(
    text: str,
    *,
    rng: np.random.Generator,
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    typos: Annotated[float, Field(ge=0, le=1)] = 0.05,
) -> str:
    """Each value of a row is dropped with the chance `drop`, and each letter or digit mistyped with the chance `typos`.

    Values stand between `;`, `|` or line breaks, as in "name: old mill; place: Leeds"; where there is one value, its
    words are taken for values. One value always stays, drawn at random. A letter or digit that is mistyped is left out,
    doubled, swapped with the sign after it, or becomes another letter, each as likely.

    What was taken: the paper makes positives of a tuple by dropped values, masked attributes, typing errors and
    synonyms. A masked attribute is one whose name goes with its value, which is what dropping does here. Synonyms need
    a dictionary and are left out. Its rates are not known (unverified); these are ours.

    When to use: rows of tables, and names, that were typed by different people, rather than `mask-words`, which spoilt
    the vectors in our record where these copies left them as good as they had been (not better). With
    `table-integration` or `multi-view` four spoilt copies of every row are embedded beforehand, one drawn in a step.

    Relations: `mask-words` masks and swaps whole words, for texts.
    """
    units = _BETWEEN_CELLS.split(text)
    if len(units) == 1:
        units = _BETWEEN_WORDS.split(text)
    places = [place for place in range(0, len(units), 2) if units[place].strip()]
    if not places:
        return text
    kept = rng.random(len(places)) >= drop
    kept[rng.integers(len(places))] |= not kept.any()
    made = ""
    for place in (place for place, stays in zip(places, kept, strict=True) if stays):
        made += (units[place - 1] if made else "") + _mistyped(units[place], typos, rng)
    return made if made.strip() else text


def _mistyped(cell: str, typos: float, rng: np.random.Generator) -> str:
    wrong, how = rng.random(len(cell)) < typos, rng.integers(4, size=len(cell))
    other = rng.integers(len(_LETTERS), size=len(cell))
    made, place = "", 0
    while place < len(cell):
        sign = cell[place]
        if not wrong[place] or not sign.isalnum():
            made += sign
        elif how[place] == 1:
            made += sign * 2
        elif how[place] == 2:
            made += cell[place + 1 : place + 2] + sign
            place += 1
        elif how[place] == 3:
            made += _LETTERS[other[place]]
        place += 1
    return made
