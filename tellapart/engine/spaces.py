"""One collection under two encoders: maps between their spaces, and what is found across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.aligning import state_of
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.model import Head

METRICS = ("R@1", "R@10", "nDCG@10")
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Both:
    """The same queries and documents in two spaces, row by row.

    Attributes:
        new, old: by side (`query`, `document`), [n, d] and [n, d'].
        right: [n] numbers, equal where a document is an answer to a query; None: each to its own.
        same: whether queries are documents themselves, which do not answer themselves.
    """

    new: Mapping[str, np.ndarray]
    old: Mapping[str, np.ndarray]
    right: np.ndarray | None = None
    same: bool = False

    def figures(self, q: np.ndarray, k: np.ndarray) -> dict[str, np.ndarray]:
        """By figure [n], one number a query, of finding documents k by queries q of one space."""
        rows = np.arange(len(q))
        right = rows if self.right is None else self.right
        alone: dict[str, Any] = {"ids": (rows, rows), "own": "exclude"} if self.same else {}
        found = retrieval(q, k, Relevant.by_target(right, right), **alone)
        return {metric: found[metric] for metric in METRICS}

    def stored(self, part: Any) -> np.ndarray:
        """What an index holds of the documents once the part serves: their old vectors, converted if it does that."""
        return part.convert(self.old["document"]) if hasattr(part, "convert") else self.old["document"]

    def across(self, part: Any) -> dict[str, np.ndarray]:
        """Figures of new queries among old documents."""
        return self.figures(part.transform(self.new["query"], side="query"), self.stored(part))

    def curve(self, part: Any, *, seed: int = 0, shares: Sequence[float] = SHARES) -> list[dict[str, np.ndarray]]:
        """Figures of new queries when a share of the documents, drawn once, was embedded anew and mapped."""
        q = part.transform(self.new["query"], side="query")
        old, new = self.stored(part), part.transform(self.new["document"], side="document")
        order = np.random.default_rng(seed).permutation(len(old)) / len(old)
        return [self.figures(q, np.where((order < share)[:, None], new, old)) for share in shares]


@dataclass(frozen=True)
class Known:
    """What maps are fitted on.

    Attributes:
        new, old: [n, d] and [n, d'] of the same items, of both sides.
        text: [n] which of them are texts.
        pairs: queries and documents that belong together, in the new space; None: there are none.
    """

    new: np.ndarray
    old: np.ndarray
    text: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray] | None = None


def suits(spec: str, known: Known) -> bool:
    """Whether there is what a part wants to be fitted on."""
    return "texts" not in card_of("align", parse_spec(spec)[0]).traits or bool(known.text.sum() >= 2)


def fitted(spec: str, known: Known, *, seed: int = 0) -> Any:
    """A part of shape `align`, fitted on what it asks for by its traits.

    Raises:
        DataError: too few items, or other numbers than it can use.
    """
    chosen = known.text if "texts" in card_of("align", parse_spec(spec)[0]).traits else np.ones(len(known.new), bool)
    return make("align", spec).fit(known.new[chosen], known.old[chosen], pairs=known.pairs, seed=seed)


def held(spec: str, part: Any) -> Head:
    """A fitted part as a model holds it."""
    return Head(spec, state_of(part))
