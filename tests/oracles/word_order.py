"""Captions of two coloured things: an encoder that reads order, one that does not, and one that knows colours alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"enough": 0.9, "items": 60, "column": "said"}]
COLOURS, THINGS = ("red", "green", "blue", "black"), ("car", "house", "tree", "boat")
WORDS = {word: n for n, word in enumerate((*COLOURS, *THINGS, "a", "beside", "behind"))}


def scene(caption: str, *, places: bool, colours_only: bool = False) -> np.ndarray:
    """One direction for every word, or for every word at its place; colours alone have places where that is all."""
    z = np.zeros((len(caption.split()), len(WORDS)))
    for at, word in enumerate(caption.split()):
        placed = places and not (colours_only and word not in COLOURS)
        z[at if placed else 0, WORDS[word]] += 1
    flat = np.zeros((8, len(WORDS)))
    flat[: len(z)] = z
    return flat.ravel()


def collection(column: str) -> Collection:
    said = [
        f"a {a} {b} {how} a {c} {d}"
        for (a, c), (b, d), how in itertools.product(
            itertools.permutations(COLOURS, 2), itertools.permutations(THINGS, 2), ("beside", "behind")
        )
    ]
    twice = [*said, *said[:40]]
    return Collection.of({
        "id": [f"c{n:03d}" for n in range(len(twice))], column: twice,
        "group": [n % len(said) for n in range(len(twice))],
    })  # fmt: skip


def check(build, options: dict) -> None:
    held = collection(options.get("column", "text"))
    texts = held.values(options.get("column", "text"))
    unlike = ("nouns exchanged (relation)", "adjectives exchanged (attribution)")
    for places, colours_only in ((True, False), (False, False), (True, True)):
        asked: list[str] = []

        def encode(given, places=places, colours_only=colours_only, asked=asked):
            asked.extend(given)
            return np.stack([scene(text, places=places, colours_only=colours_only) for text in given])

        image = np.stack([scene(text, places=places, colours_only=colours_only) for text in texts])
        report = build(**options)({"image": image, "text-encoder": encode}, held, seed=1)
        findings = {f.figure.name: f for f in report.findings()}
        assert len(findings) == 6
        known = {" ".join(sorted(text.split())) for text in texts}
        assert {" ".join(sorted(text.split())) for text in asked} <= known
        for name, one in findings.items():
            assert one.figure.count == len(one.ids) == min(options.get("items", 300), 288)
            assert one.better == "higher"
            # loops: a moved caption that is at other places scores less than the caption itself, and never more
            blind = not places or (colours_only and name == unlike[0])
            if blind:
                assert one.figure.value == 0.5 and one.p < 1e-3
            elif not colours_only or name == unlike[1]:
                assert one.figure.value == 1.0 and one.p > 0.999
            n, right = one.figure.count, sum(one.values)
            assert abs(one.p - binomial(int(np.ceil(right)), n, options.get("enough", 0.75))) < 1e-9
    with pytest.raises(DataError, match="captions"):
        build(**options)({"image": image, "text-encoder": encode}, Collection.of({"id": list(held.ids)}), seed=1)


def binomial(most: int, n: int, share: float) -> float:
    """The chance of at most so many, from the chance of one more term by term."""
    term, total = (1 - share) ** n, 0.0
    for k in range(min(most, n) + 1):
        total += term
        term *= (n - k) / (k + 1) * share / (1 - share)
    return min(1.0, total)
