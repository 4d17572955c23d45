"""Queries in five scripts, one of which an encoder does not read, and what an audit says of it.

Texts are those of `queries` (`docstrings`, `wordnet`); a document is a text in Latin letters, its query some of its
words. Of every collection shares of 30, 15, 10 and 5 in 100 of the queries, dealt at random, are written in Greek,
Cyrillic, Hangul and Devanagari letters, sign for sign. The encoder knows which letter is which and counts every three
signs; so a query finds as well in any script. Of a script that it does not read it takes some letters for one.

**query-languages**: metrics are `unread script first` (its share with the smallest p; the baseline takes the script
of which least is found), `unread script clear` (at 5% for all scripts together; the baseline tests each share against
that of all queries as if it were known, without a correction), and `called clear where all are read` (the same of
any script).

Options (`[options]` of the spec):
    items: queries (500); deals: collections a seed of each kind (12).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tellapart.core.chance import holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make, parse_spec
from tellapart.core.report import Table
from tellapart.protocol.queries import texts_of

LOWER_IS_BETTER = ("called",)
KNOWN = ("items", "deals")
FIRST, CLEAR, CALLED = "unread script first", "unread script clear", "called clear where all are read"
LETTERS = {"LATIN": 0, "GREEK": 0x3B1, "CYRILLIC": 0x430, "HANGUL": 0xAC00, "DEVANAGARI": 0x915}
SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)
DIM, LEFT, KEPT, AT = 256, 18, 0.1, 0.05
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [option for option in options if option not in KNOWN]:
        raise PartError(f"the protocol scripts has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if parse_spec(spec["part"])[0] != "query-languages":
        raise DataError(f"the protocol scripts knows query-languages, not {spec['part']}")
    first, clear, called = [], [], []
    for number in range(2 * options.get("deals", 12)):
        unread = list(LETTERS)[1 + number // 2 % (len(LETTERS) - 1)] if number % 2 else ""
        texts, kinds = written(
            data, options.get("items", 500), np.random.default_rng([seed, number, zlib.crc32(data.encode())])
        )
        plain, share, p = asked(spec["part"], texts, kinds, unread, seed, number)
        sure = dict(zip(p, holm(list(p.values())), strict=True))
        if unread:
            first.append([min(share, key=lambda s: share[s]) == unread, min(p, key=lambda s: p[s]) == unread])
            clear.append([plain[unread] < AT, sure[unread] < AT])
        else:
            called.append([any(v < AT for v in plain.values()), any(v < AT for v in sure.values())])
    found = {FIRST: np.mean(first, axis=0), CLEAR: np.mean(clear, axis=0), CALLED: np.mean(called, axis=0)}
    return {name: (float(value[0]), float(value[1])) for name, value in found.items()}


def written(data: str, items: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Texts in small letters, and the script that the query of each is written in."""
    every = texts_of(data)
    chosen = [every[i] for i in rng.choice(len(every), items, replace=False)]
    kinds = rng.permutation(np.repeat(list(LETTERS), [round(s * items) for s in SHARES])).tolist()
    return [text.lower() for text in chosen], kinds


def asked(
    part: str, texts: list[str], kinds: list[str], unread: str, seed: int, number: int
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """By script: p of its share against that of all, the share itself, and the part's p."""
    rng = np.random.default_rng([seed, number, 98])
    queries = [_in(_some(text, rng), LETTERS[kind]) for text, kind in zip(texts, kinds, strict=True)]
    z = counted(texts, 0)
    vectors = {"k": z, "text-encoder": lambda given: counted(given, LETTERS.get(unread, 0))}
    made = Collection.of({"anchor": queries, "positive": ["-"] * len(texts)})
    report = make("audit", part)(vectors, made, seed=seed)
    p = {f.figure.name.removeprefix("queries in "): f.p for f in report.findings()}
    table = next(b for b in report.blocks if isinstance(b, Table))
    share = {r[0]: r[2].value for r in table.rows}
    whole = sum(r[1] * r[2].value for r in table.rows) / sum(r[1] for r in table.rows)
    spread = {r[0]: max(math.sqrt(whole * (1 - whole) / r[1]), 1e-12) for r in table.rows}
    return {s: 0.5 * math.erfc((whole - v) / spread[s] / math.sqrt(2)) for s, v in share.items()}, share, p


def counted(texts: Sequence[str], unread: int) -> np.ndarray:
    """[n, 256] how often each three signs stand in a text, in whatever script.

    Args:
        unread: where the alphabet begins of which letters from `LEFT` on are one; 0: of none.
    """
    z = np.full((len(texts), DIM), 1e-3)
    latin = {first + i: chr(97 + i) for first in LETTERS.values() if first for i in range(26)}
    if unread:
        latin |= {unread + i: "?" for i in range(LEFT, 26)}
    for row, text in enumerate(texts):
        read = text.translate(latin)
        for at in range(max(1, len(read) - 2)):
            z[row, zlib.crc32(read[at : at + 3].encode()) % DIM] += 1
    return unit_rows(z)


def _some(text: str, rng: np.random.Generator) -> str:
    """Some of the words of a text, at least one."""
    words = text.split()
    kept = rng.random(len(words)) < KEPT
    kept[rng.integers(len(words))] = True
    return " ".join(word for word, stays in zip(words, kept, strict=True) if stays)


def _in(text: str, first: int) -> str:
    """A text with every Latin letter made one of another alphabet."""
    if not first:
        return text
    return "".join(chr(first + ord(s) - 97) if "a" <= s <= "z" else s for s in text)
