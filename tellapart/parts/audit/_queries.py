"""A search as its user meets it: texts that are asked, altered or not, and whether their own documents are found."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows

FEWEST, SHOWN, NO_SPACES = 20, 12, ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True)
class Search:
    """Queries, one of a group of duplicates, and the documents among which each looks for its own.

    Attributes:
        rows: [n] rows of the collection; texts: their n texts.
        pool: [p] rows of the documents; z: [p, d] their unit vectors.
        same: [items] equal where a document answers a query, -1 where only its own does.
        encode: texts to vectors of queries.
        k: a query is right where fewer wrong documents than so many are above the best right one.
    """

    rows: np.ndarray
    texts: list[str]
    pool: np.ndarray
    z: np.ndarray
    same: np.ndarray
    encode: Callable[[Sequence[str]], Any]
    k: int

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] unit vectors, each text encoded once."""
        distinct = list(dict.fromkeys(texts))
        q = matrix(self.encode(distinct), dim=self.z.shape[1], what="what the encoder gives")
        if len(q) != len(distinct):
            raise DataError(f"the encoder gave {len(q)} vectors for {len(distinct)} texts")
        at = {text: row for row, text in enumerate(distinct)}
        return unit_rows(q)[[at[text] for text in texts]]

    def found(self, which: np.ndarray, q: np.ndarray) -> np.ndarray:
        """[m] 1.0 where a query, number `which` with the vector `q`, has its document among the first k."""
        s, rows = q @ self.z.T, self.rows[which]
        right = (self.same[rows][:, None] == self.same[self.pool]) & (self.same[rows][:, None] >= 0)
        right |= rows[:, None] == self.pool
        best = np.where(right, s, -np.inf).max(axis=1, keepdims=True)
        return (((s > best + 1e-6) & ~right).sum(axis=1) < self.k).astype(float)


def search(vectors: Mapping[str, Any], collection: Collection, *, items: int, pool: int, k: int, seed: int) -> Search:
    """Up to `items` queries among up to `pool` documents, of the split `test` where there is one.

    Args:
        vectors: `k` [n, d], or `q` where the documents are the texts; `encoder` where both are, or `text-encoder`.

    Raises:
        DataError: no texts, no encoder, nothing to find with them, or rows that do not match.
    """
    sides, reader = collection.sides(), vectors.get("encoder")
    side = next((s for s in (sides.query, sides.document) if s.modality == "text"), None)
    encode = vectors.get("text-encoder") if reader is None else reader.query
    z = vectors.get("k" if side == sides.query or side is None else "q")
    if side is None or encode is None or z is None:
        raise DataError("queries need texts, an encoder of them, and documents that they find: audit a model of pairs")
    if len(z) != len(collection):
        raise DataError(f"{len(z)} vectors, {len(collection)} items: give as many")
    texts = [" ".join(str(v or "").split()) for v in collection.values(side.column)]
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(texts))
    split = collection.values("split") if "split" in collection.columns else []
    held = np.array([s == "test" for s in split], bool) if "test" in split else np.ones(len(texts), bool)
    rng = np.random.default_rng(seed)
    documents = rng.permutation(np.flatnonzero(held))[:pool]
    asked = documents[[bool(texts[row]) for row in documents]]
    _, first = np.unique(groups[asked], return_index=True)
    rows, documents = np.sort(asked[np.sort(first)[:items]]), np.sort(documents)
    same = groups if sides.target is None or sides.same_space else collection.codes(sides.target)[0]
    known = unit_rows(matrix(np.asarray(z)[documents], what="the documents' vectors"))
    return Search(rows, [texts[row] for row in rows], documents, known, same, encode, k)


def script(text: str) -> str:
    """What most letters of a text are, as their Unicode names begin: LATIN, CYRILLIC, CJK; "" without letters."""
    count: dict[str, int] = {}
    for sign in text:
        if sign.isalpha():
            name = unicodedata.name(sign, "").split(" ")[0].split("-")[0]
            count[name] = count.get(name, 0) + 1
    return max(count, key=lambda name: (count[name], name)) if count else ""
