"""Differences planted between two sets of items, and in which place an audit names them.

A planted word is one of captions or one that their words are kinds of (`animal`, `dark`, `woman`). The first set has
items with it, in the share `purity` (a draw between 0.6 and 1), the second set items without it; the rest of the first
are items without it too. Captions are incomplete, as a captioner's are: every word is left out with a chance of 0.3.
Half of the items, by concept, train what the items are looked at with; sets are drawn from the others.

`openmoji`: drawings, with a ridge map from EfficientNet-Lite0 features into MiniLM's space of texts; `wordnet`: glosses
of nouns in MiniLM's space, whose captions are their first eight words.

Figures: the baseline is the log odds of single caption words alone (no broader terms, no ranker), the variant the part.
A phrase counts as the planted one where it is the same, or where nine tenths of the items that have either (in whole
captions) have both.

- `planted word first`, `planted word in the first three`, `in the first five`: shares of the planted sets.
- the same `against vectors`: the part against itself with phrases ranked by cosines of vectors, as CLIP does there.
- `called found where sets are random`: the share of random splits in which the first phrase has p below 0.05 (the
  baseline: the z of its log odds above 1.64, as if it had not been chosen).

Options (`[options]` of the spec):
    planted: how many sets a seed (8); clean: random splits (10); size: items a set (150).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.broader import broader_terms
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make
from tellapart.core.phrases import Phrases, phrases_of
from tellapart.core.report import Report, Table
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("called",)
KNOWN = ("planted", "clean", "size")
PLACES = {"planted word first": 1, "planted word in the first three": 3, "planted word in the first five": 5}
CALLED = "called found where sets are random"
LEFT_OUT, ALIKE, FEWEST, MOST, WORDS = 0.3, 0.9, 60, 0.3, 8
Figures = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Items:
    """Items to draw sets from: unit vectors in the space of texts, whole captions, phrases of them, an encoder."""

    z: np.ndarray
    captions: list[str]
    phrases: Phrases
    encode: Callable[[list[str]], np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol set_differences has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    held, size = items(data), options.get("size", 150)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 81]))
    ranks = []
    for word in words(held, rng)[: options.get("planted", 8)]:
        rows, inside = planted(held, word, size, rng)
        ranks.append([place_of(held, word, told) for told in three(spec["part"], held, rows, inside, rng, seed)])
    called = []
    for number in range(options.get("clean", 10)):
        rows = rng.permutation(len(held.z))[: 2 * size]
        collection, inside = made(held, rows, np.arange(2 * size) < size, rng)
        odds = _words(collection)[1]
        finding = asked(spec["part"], held, rows, collection, seed + number).findings()
        called.append([bool(odds.max(initial=0.0) > 1.64), bool(finding and finding[0].p < 0.05)])
    place = np.array(ranks)
    figures = {name: (np.mean(place[:, 0] <= k), np.mean(place[:, 2] <= k)) for name, k in PLACES.items()}
    figures |= {f"{name}, against vectors": (np.mean(place[:, 1] <= k), np.mean(place[:, 2] <= k))
                for name, k in PLACES.items()}  # fmt: skip
    figures[CALLED] = tuple(np.mean(called, axis=0))
    return {name: (float(a), float(b)) for name, (a, b) in figures.items()}


def three(
    part: str, held: Items, rows: np.ndarray, inside: np.ndarray, rng: np.random.Generator, seed: int
) -> list[list[str]]:
    """Phrases in the order of log odds of words, of the part by vectors, and of the part."""
    collection, inside = made(held, rows, inside, rng)
    ranked = named(asked(part, held, rows, collection, seed, rank="vectors"))
    return [by_words(collection), ranked, named(asked(part, held, rows, collection, seed))]


def by_words(collection: Collection) -> list[str]:
    """The single words of captions in the order of their log odds."""
    found, odds = _words(collection)
    return [found.names[i] for i in np.argsort(-odds, kind="stable")[:20]]


def named(report: Report) -> list[str]:
    """The phrases that the part names, in its order."""
    return [str(row[0]) for b in report.blocks if isinstance(b, Table) for row in b.rows]


def asked(part: str, held: Items, rows: np.ndarray, collection: Collection, seed: int, **options: Any) -> Report:
    """What the part says of two sets."""
    vectors = {"document": held.z[rows], "text": held.z[rows], "text-encoder": held.encode}
    report: Report = make("audit", part, column="side", a="first", b="second", **options)(
        vectors, collection, seed=seed
    )
    return report


def made(held: Items, rows: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> tuple[Collection, np.ndarray]:
    """Two sets with incomplete captions."""
    texts = [" ".join(w for w in held.captions[r].split() if rng.random() >= LEFT_OUT) for r in rows]
    side = ["first" if v else "second" for v in inside]
    return Collection.of({"text": texts, "side": side}), inside


def planted(held: Items, word: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(rows, which are of the first set): those with a word, in a share of 0.6 to 1, against others."""
    has = held.phrases.has(word)
    mine, others = (rng.permutation(np.flatnonzero(side)) for side in (has, ~has))
    size = min(size, len(mine), len(others) // 2)
    pure = round(size * rng.uniform(0.6, 1))
    rows = np.concatenate([mine[:pure], others[: 2 * size - pure]])
    return rows, np.arange(len(rows)) < size


def words(held: Items, rng: np.random.Generator) -> list[int]:
    """Phrases to plant, in a random order: of enough items and not of most, no two of nearly the same items."""
    able = [i for i, rows in enumerate(held.phrases.rows) if FEWEST <= len(rows) <= MOST * len(held.z)]
    kept: list[int] = []
    for i in rng.permutation(able).tolist():
        if all(alike(held.phrases.rows[i], held.phrases.rows[j]) < ALIKE for j in kept):
            kept.append(i)
    return kept


def place_of(held: Items, word: int, told: list[str]) -> int:
    """The place from 1 of the first phrase that means the planted one; 1,000 where none does."""
    number = {name: i for i, name in enumerate(held.phrases.names)}
    for place, name in enumerate(told, 1):
        if name in number and alike(held.phrases.rows[number[name]], held.phrases.rows[word]) >= ALIKE:
            return place
    return 1000


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """The share of the rows that are in either which are in both."""
    return len(np.intersect1d(a, b)) / max(1, len(np.union1d(a, b)))


def _words(collection: Collection) -> tuple[Phrases, np.ndarray]:
    found = phrases_of(collection.values("text"), longest=1, least=8)
    inside = np.array([v == "first" for v in collection.values("side")])
    return found, found.odds(inside, np.ones(len(inside), bool))


@functools.cache
def items(data: str) -> Items:
    """The half of the items that sets are drawn from."""
    from tellapart.engine.embed import embed

    if data not in ("openmoji", "wordnet"):
        raise DataError(f"the protocol set_differences knows openmoji and wordnet, not {data!r}")
    cache = cache_folder(None, "evidence-vectors")
    encoder, held = make("encode", "minilm"), _sets.shipped(data)
    if data == "wordnet":
        held = held.where("pos", "n")
        held = held.take(np.sort(np.random.default_rng(0).permutation(len(held))[:6000]))
        z = unit_rows(np.array(embed(held, "gloss", encoder, cache=cache)))
        captions, test = [" ".join(v.split()[:WORDS]) for v in held.values("gloss")], np.ones(len(held), bool)
    else:
        concept = held.codes("concept")[0]
        test = np.random.default_rng(0).random(concept.max() + 1)[concept] < 0.5
        x = unit_rows(np.array(embed(held, "image", make("encode", "lite0"), cache=cache)))
        text = unit_rows(np.array(embed(held, "text", encoder, cache=cache)))
        z = unit_rows(ridge_map(x[~test], text[~test], 1.0)(x))
        captions = [str(v) for v in held.values("text")]
    rows = np.flatnonzero(test)
    captions = [captions[r] for r in rows]

    def encode(texts: list[str]) -> np.ndarray:
        return np.asarray(encoder.encode(list(texts), batch_size=64))

    found = phrases_of(captions, longest=3, least=5, broader=broader_terms())
    return Items(z[rows], captions, found, encode)
