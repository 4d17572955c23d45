"""Texts that are nearly right beside right ones: which of the two an item is nearer to, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core import redraw
from tellapart.core.chance import at_most as at_most
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.report import Example, Figure, Finding
from tellapart.core.tagging import (
    KINDS,
    Order,
    all_but_those,
    nouns_and_adjectives,
    reordered,
    swapped,
    trigrams,
    within_trigrams,
)

FEWEST, SHOWN = 20, 12
ORDERS: dict[str, Order] = {
    "nouns and adjectives shuffled": nouns_and_adjectives,
    "all but nouns and adjectives shuffled": all_but_those,
    "trigrams shuffled": trigrams,
    "shuffled within trigrams": within_trigrams,
}
SWAPS: dict[str, Order] = {
    "nouns exchanged (relation)": swapped("noun"),
    "adjectives exchanged (attribution)": swapped("adjective"),
}
ANY_SWAP = swapped(*KINDS)


@dataclass(frozen=True)
class Asked:
    """Items with a text each, one item of a duplicate group, and what their texts become.

    Attributes:
        rows: [n] rows of the collection; texts: their n texts.
        made: by kind, [n] texts with their words moved, None where none can be.
    """

    rows: np.ndarray
    texts: list[str]
    made: dict[str, list[str | None]]


def asked(
    collection: Collection, column: str, kinds: dict[str, Order], *, most: int, rng: np.random.Generator
) -> Asked:
    """Up to `most` items whose texts have three words or more, drawn among the test part where there is one."""
    texts = [str(text or "") for text in collection.values(column)]
    split = collection.values("split") if "split" in collection.columns else []
    held = np.array([s == "test" for s in split], bool) if "test" in split else np.ones(len(texts), bool)
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(texts))
    able = np.flatnonzero(held & [len(text.split()) > 2 for text in texts])
    order = rng.permutation(able)
    _, first = np.unique(groups[order], return_index=True)
    rows = np.sort(order[np.sort(first)[:most]])
    made = {kind: [reordered(texts[row], move, rng) for row in rows] for kind, move in kinds.items()}
    return Asked(rows, [texts[row] for row in rows], made)


def vectors_of(encode: Callable[[Sequence[str]], Any], texts: Sequence[str], dim: int) -> np.ndarray:
    """[n, dim] unit vectors of texts, each encoded once."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return np.empty((0, dim))
    z = matrix(encode(distinct), dim=dim, what="the encoder's texts")
    if len(z) != len(distinct):
        raise DataError(f"the encoder gave {len(z)} vectors for {len(distinct)} texts")
    at = {text: row for row, text in enumerate(distinct)}
    return unit_rows(z)[[at[text] for text in texts]]


def finding(
    name: str, said: str, right: np.ndarray, margin: np.ndarray, ids: np.ndarray, words: list[tuple[str, str]], *,
    enough: float, seed: int, mend: str,
) -> Finding:  # fmt: skip
    """Whether the right text wins in `enough` of the cases: p is the chance of as few where it does.

    Args:
        right: [n] 1 where it wins, 0.5 where both are as near; margin: [n] by how much.
        words: the right text and the other one.
    """
    low, high = redraw.interval(redraw.mean(right), np.arange(len(right)), seed=seed)
    shown = [
        Example([str(ids[i])], f"'{words[i][1]}' is nearer by {-margin[i]:.3f}", (float(margin[i]),), (words[i][0],))
        for i in np.argsort(margin, kind="stable")[:SHOWN]
        if margin[i] < 0
    ]
    figure = Figure(name, float(right.mean()), low, high, len(right), note=f"by chance 0.5; enough is {enough}")
    p = at_most(math.ceil(right.sum()), len(right), enough)
    return Finding(figure, said, p, "higher", [str(i) for i in ids], right.tolist(), shown, mend)


def won(margin: np.ndarray) -> np.ndarray:
    """1 where a margin is above zero, 0.5 where there is none."""
    return np.where(np.abs(margin) <= 1e-6, 0.5, (margin > 0).astype(float))
