"""Pictures put together of two things of a collection, with the attributes and the names of these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.hues import COLOURS, colour_of
from tellapart.core.needs import require

FEWEST_OF_ONE, MOST_ATTRIBUTES, LOOKED_AT = 3, 8, 4


def attributes(
    pictures: Sequence[Any], collection: Collection, column: str, pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows with an attribute in random order, [all items] its number or -1, and the attributes, the most frequent."""
    drawn = rng.permutation(len(collection))
    if column:
        values = [str(v).strip() if v is not None else "" for v in collection.values(column)]
    else:
        values = [""] * len(collection)
        for row in drawn[: LOOKED_AT * pairs]:
            values[row] = colour_of(pictures[row])
    names, count = np.unique([v for v in values if v], return_counts=True)
    kept = [str(names[i]) for i in np.argsort(-count, kind="stable")[:MOST_ATTRIBUTES] if count[i] >= FEWEST_OF_ONE]
    of = np.array([kept.index(v) if v in kept else -1 for v in values])
    return drawn[of[drawn] >= 0], of, kept


def names(texts: Sequence[Any], known: Sequence[str]) -> list[str]:
    """What things are called, without words of colours and attributes."""
    words = "|".join(re.escape(word) for word in {*COLOURS, *known})
    return [" ".join(re.sub(rf"\b(?:{words})\b", " ", str(text or ""), flags=re.IGNORECASE).split()) for text in texts]


def triples(rows: np.ndarray, of: np.ndarray, called: list[str], most: int, rng: np.random.Generator) -> np.ndarray:
    """[p, 3] rows of A, B and C: every A once, of three attributes and three names."""
    able = np.array([row for row in rows if called[row]], int)
    found = []
    for a in able[:most]:
        b = able[of[able] != of[a]]
        b = rng.choice(b) if len(b) else a
        c = able[(of[able] != of[a]) & (of[able] != of[b])]
        c = rng.choice(c) if len(c) else a
        if len({called[a], called[b], called[c]}) == 3:
            found.append((a, *((b, c) if rng.integers(2) else (c, b))))
    return np.array(found, int).reshape(-1, 3)


def beside(pictures: Sequence[Any], a: int, b: int, *, left: bool) -> Any:
    """Two pictures of one height side by side on white, the first on the left or on the right."""
    image = require("PIL.Image", "pictures")
    made = [pictures[row].convert("RGB").resize((160, 160)) for row in ((a, b) if left else (b, a))]
    whole = image.new("RGB", (320, 320), "white")
    for place, one in enumerate(made):
        whole.paste(one, (160 * place, 80))
    return whole
