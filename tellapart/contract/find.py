"""What every part that looks for faults promises.

    part(vectors, collection, *, seed=0, **options) -> Findings

`vectors` maps a name to an array with a row for each item of the collection: `query` and `document`, frozen features of
both sides; of pictures `pictures`, their features, and `pixels`, [n, 64, 64, 3] uint8, made small. The traits of a card
name those that the part cannot do without, and what it needs of the collection in the words of `engine.suitable`
(`two-sides`, `labels`). A part looks for one kind of fault, and calls it by its own name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.contract._over_vectors import Untouched
from tellapart.contract.classify import Build, Check, must_refuse
from tellapart.core.collection import Collection
from tellapart.core.findings import Findings
from tellapart.core.parts import Card

NAMES = ("query", "document", "pictures", "pixels")
TOPICS = 6


def world(seed: int, n: int = 240, faults: int = 8) -> tuple[dict[str, np.ndarray], Collection]:
    """Pictures of six topics from three shops, with captions and labels, and of each of three faults so many items.

    The first `faults` items have a caption without words, the next ones each the caption of the one after it, the next
    ones the label of another topic. The files of the first ones say that they were generated. The last three of each
    topic are trusted. Of three voters each is wrong in a tenth of the items. Faults of 0: nothing else is wrong.
    """
    rng = np.random.default_rng(seed)
    topic = np.arange(n) % TOPICS
    meaning = 2 * rng.normal(size=(TOPICS, 8))[topic] + rng.normal(size=(n, 8))
    words = [f"thing of topic {t} that is number {'abcdefghij'[i % 10] * 3} {i}" for i, t in enumerate(topic)]
    query = meaning @ rng.normal(size=(8, 12)) + 0.2 * rng.normal(size=(n, 12))
    document = meaning @ rng.normal(size=(8, 10)) + 0.2 * rng.normal(size=(n, 10))
    label = topic.copy()
    blank, swapped, wrong = (np.arange(k * faults, (k + 1) * faults) for k in range(3))
    for i in blank:
        words[i] = "..."
    query[blank] = query[blank].mean(axis=0) if faults else query[blank]
    query[swapped] = query[np.roll(swapped, 1)]
    label[wrong] = (label[wrong] + 1) % TOPICS
    collection = Collection.of({
        "id": [f"i{i:04d}" for i in range(n)],
        "image": [f"{i}.png" for i in range(n)],
        "text": words,
        "label": [f"kind {t}" for t in label],
        "group": np.arange(n),
        "near": np.arange(n),
        "trusted": ["yes" if i >= n - 3 * TOPICS else "no" for i in range(n)],
        **{f"vote_{a}": _voted(seed + a, topic) for a in (1, 2, 3)},
        "origin": ["generated; planted" if i < faults else None for i in range(n)],
        "source": [f"shop {'abc'[i // TOPICS % 3]}" for i in range(n)],
    })  # fmt: skip
    vectors = {"query": query.astype(np.float32), "document": document.astype(np.float32)}
    pixels = rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    return {**vectors, "pictures": vectors["document"], "pixels": pixels}, collection


def _voted(seed: int, topic: np.ndarray) -> list[str]:
    """What somebody says who is wrong in a tenth of the items."""
    rng = np.random.default_rng([seed, 7])
    wrong = rng.random(len(topic)) < 0.1
    return [f"kind {t}" for t in np.where(wrong, rng.integers(0, TOPICS, len(topic)), topic)]


class Checks(Untouched):
    """The checks of one card."""

    def __init__(self, card: Card) -> None:
        self.name = card.name
        self.needed = [name for name in NAMES if name in card.traits]

    def world(self, seed: int) -> tuple[dict[str, np.ndarray], Collection]:
        return world(seed)

    def check_rows(self, build: Build) -> None:
        """It looks at items of the collection, calls what it finds by its own name, and has one threshold."""
        vectors, collection = world(0)
        found = build()(vectors, collection, seed=0)
        assert isinstance(found, Findings), "a part of shape find gives Findings"
        assert len(found), "it looked at nothing"
        assert set(found.table["kind"].to_pylist()) == set(found.shown) == {self.name}, "it is called by another name"
        assert set(found.table["item"].to_pylist()) <= set(collection.row_of), "it found no item of the collection"

    def check_targets(self, build: Build) -> None:
        """A new label is another one of the collection, and what an item is the same as is another item."""
        for seed in range(2):
            vectors, collection = world(seed)
            labels = dict(zip(collection.ids.tolist(), collection.values("label"), strict=True))
            for row in build()(vectors, collection, seed=0).proposed().rows():
                if row["action"] == "relabel":
                    assert row["to"] in set(labels.values()), f"{row['to']} is no label"
                    assert row["to"] != labels[row["item"]], "the new label is the old one"
                if row["action"] == "same-as":
                    assert row["to"] in labels and row["to"] != row["item"], f"{row['to']} is no other item"

    def check_quiet(self, build: Build) -> None:
        """Where nothing is wrong, at most a tenth of the items is proposed."""
        for seed in range(3):
            vectors, collection = world(10 + seed, faults=0)
            share = len(build()(vectors, collection, seed=0).proposed()) / len(collection)
            assert share <= 0.1, f"{share:.0%} of a collection in which nothing is wrong is proposed"

    def check_seed(self, build: Build) -> None:
        """Equal seeds give equal findings, whatever was drawn before."""
        first = build()(*world(2), seed=3)
        np.random.default_rng(0).random(100)
        again = build()(*world(2), seed=3)
        assert first.table.equals(again.table) and first.shown == again.shown, "two runs with one seed differ"

    def check_few_items(self, build: Build) -> None:
        """One, two and seven items are looked at, or refused in words."""
        vectors, collection = world(5)
        for n in (1, 2, 7):
            few = {name: v[:n] for name, v in vectors.items()}
            try:
                build()(few, collection.take(np.arange(n)), seed=0)
            except Exception:
                must_refuse(f"{n} items", lambda: build()(few, collection.take(np.arange(n)), seed=0))  # noqa: B023

    def check_bad_input(self, build: Build) -> None:
        """What cannot be used is refused in words."""
        vectors, collection = world(6)
        refused: dict[str, Callable[[], Any]] = {}
        for name in self.needed:
            holed = {**vectors, name: vectors[name].astype(np.float32)}
            holed[name][3, 1] = np.nan
            fewer = {**vectors, name: vectors[name][:-1]}
            without = {n: v for n, v in vectors.items() if n != name}
            refused[f"{name} that is not finite"] = lambda v=holed: build()(v, collection, seed=0)
            refused[f"fewer rows of {name} than items"] = lambda v=fewer: build()(v, collection, seed=0)
            refused[f"vectors without {name}"] = lambda v=without: build()(v, collection, seed=0)
        for what, call in refused.items():
            must_refuse(what, call)


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part."""
    bound = Checks(card)
    found: list[Check] = [
        bound.check_rows, bound.check_targets, bound.check_quiet, bound.check_seed, bound.check_global_draws,
        bound.check_input_unchanged, bound.check_few_items,
    ]  # fmt: skip
    return [*found, bound.check_bad_input] if bound.needed else found
