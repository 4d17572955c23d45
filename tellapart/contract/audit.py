"""What every audit promises.

    part(vectors, collection, *, seed=0, **options) -> Report

`vectors` maps a name to an array with a row for each item of the collection. A part takes the names it knows: `query`
and `document` (frozen features of both sides), `image` (vectors of the encoder under audit), `other` (of a second
encoder), `pixels` ([n, h, w] or [n, h, w, 3]), `text` (vectors in the space of `image`). The traits of its card name
those that it cannot do without. With the trait `encoder` the mapping also holds `encoder`, which encodes texts that the
part makes: `query(texts)` and `document(texts)` give [n, d], and `cut` counts the texts that were longer than it reads.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.contract._over_vectors import Untouched
from tellapart.contract.classify import Build, Check, must_refuse
from tellapart.core.collection import Collection
from tellapart.core.parts import Card
from tellapart.core.report import Examples, Figure, Report, Text

NAMES = ("query", "document", "image", "other", "pixels", "text")


def world(seed: int, n: int = 240) -> tuple[dict[str, np.ndarray], Collection]:
    """Items of five topics, with a duplicate group for every two of the last twenty."""
    rng = np.random.default_rng(seed)
    topic = np.arange(n) % 5
    query = 2 * rng.normal(size=(5, 10))[topic] + rng.normal(size=(n, 10))
    shapes = rng.random((n, 12, 12)).cumsum(axis=1)
    vectors = {
        "query": query,
        "document": query @ rng.normal(size=(10, 8)) + 0.3 * rng.normal(size=(n, 8)),
        "image": rng.normal(size=(5, 6))[topic] + 0.05 * rng.normal(size=(n, 6)),
        "other": rng.normal(size=(n, 7)),
        "pixels": shapes,
        "text": rng.normal(size=(n, 6)),
    }
    group = np.where(np.arange(n) < n - 20, np.arange(n), n + np.arange(n) // 2)
    collection = Collection.of({
        "id": [f"i{i:04d}" for i in range(n)],
        "label": [f"kind {t}" for t in rng.integers(0, 3, n)],
        "text": [" ".join(f"w{w}" for w in row) for row in np.random.default_rng(seed).integers(0, 99, (n, 9))],
        "group": group,
        "split": ["test" if g % 3 == 0 else "train" for g in group],
    })  # fmt: skip
    return {name: value.astype(np.float32) for name, value in vectors.items()}, collection


def _plain(report: Report) -> str:
    return repr(report.to_dict())


class Checks(Untouched):
    """The checks of one card."""

    def __init__(self, card: Card) -> None:
        self.needed = [name for name in NAMES if name in card.traits]

    def world(self, seed: int) -> tuple[dict[str, np.ndarray], Collection]:
        return world(seed)

    def check_figures(self, build: Build) -> None:
        """Every figure is finite, is counted over something, and has an interval about it or says why not."""
        report = build()(*world(0), seed=0)
        assert isinstance(report, Report), "an audit gives a Report"
        figures = [b for b in report.blocks if isinstance(b, Figure)]
        assert figures, "the report holds no figure"
        for figure in figures:
            assert np.isfinite(figure.value), f"{figure.name} is not finite"
            assert figure.count > 0, f"{figure.name} does not say what it is counted over"
            if figure.low is None or figure.high is None:
                assert figure.note, f"{figure.name} has no interval and does not say why"
            else:
                assert figure.low <= figure.value <= figure.high, f"{figure.name} lies outside of its interval"

    def check_examples(self, build: Build) -> None:
        """Examples name items of the collection, with as many scores as there are to show."""
        vectors, collection = world(1)
        for block in build()(vectors, collection, seed=0).blocks:
            for example in block.items if isinstance(block, Examples) else ():
                assert set(example.ids) <= set(collection.ids.tolist()), "an example is no item of the collection"
                assert example.why, "an example does not say why it is shown"

    def check_seed(self, build: Build) -> None:
        """Equal seeds give equal reports, whatever was drawn before."""
        first = build()(*world(2), seed=3)
        np.random.default_rng(0).random(100)
        assert _plain(first) == _plain(build()(*world(2), seed=3)), "two runs with one seed differ"

    def check_few_items(self, build: Build) -> None:
        """On too few items it says that it cannot tell, or refuses in words; it never gives a bare verdict."""
        vectors, collection = world(5)
        rows = np.arange(24)
        few = {n: v[rows] for n, v in vectors.items()}
        try:
            report = build()(few, collection.take(rows), seed=0)
        except Exception:
            must_refuse("24 items", lambda: build()(few, collection.take(rows), seed=0))
            return
        said = " ".join(b.text for b in report.blocks if isinstance(b, Text))
        assert "cannot tell" in said, f"24 items are too few, and the report says: {said or 'nothing'}"

    def check_bad_input(self, build: Build) -> None:
        """What cannot be used is refused in words."""
        vectors, collection = world(6)
        refused: dict[str, Callable[[], Any]] = {
            "fewer rows than items": lambda: build()({n: v[:-1] for n, v in vectors.items()}, collection, seed=0)
        }
        for name in self.needed:
            holed = {**vectors, name: vectors[name].copy()}
            holed[name][3, 1] = np.nan
            refused[f"{name} that is not finite"] = lambda v=holed: build()(v, collection, seed=0)
        first = self.needed[0]
        fewer = {n: v for n, v in vectors.items() if n != first}
        refused[f"vectors without {first}"] = lambda: build()(fewer, collection, seed=0)
        for what, call in refused.items():
            must_refuse(what, call)


class BagOfWords:
    """An encoder for the checks: a text is the sum of a fixed draw for each of its first words."""

    reads = 200

    def __init__(self) -> None:
        self.cut = 0

    def query(self, texts: list[str]) -> np.ndarray:
        self.cut += sum(len(text.split()) > self.reads for text in texts)
        z = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for word in text.split()[: self.reads]:
                z[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=32)
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)

    document = query


def with_encoder(check: Check) -> Check:
    """A check, for a part that is given an encoder of texts as well."""

    @functools.wraps(check)
    def checked(build: Build) -> None:
        def made(**options: Any) -> Callable[..., Any]:
            audit = build(**options)
            return lambda vectors, *a, **k: audit({**vectors, "encoder": BagOfWords()}, *a, **k)

        check(made)

    return checked


def check_encoder(build: Build) -> None:
    """No encoder, and one whose vectors cannot be used, is refused in words."""
    vectors, collection = world(7)

    class Holed(BagOfWords):
        def query(self, texts: list[str]) -> np.ndarray:
            z = super().query(texts)
            z[0] = np.nan
            return z

        document = query

    class Fewer(BagOfWords):
        def query(self, texts: list[str]) -> np.ndarray:
            return super().query(texts[1:])

        document = query

    must_refuse("no encoder", lambda: build()(vectors, collection, seed=0))
    for wrong in (Holed, Fewer):
        must_refuse(wrong.__name__, lambda w=wrong: build()({**vectors, "encoder": w()}, collection, seed=0))


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part."""
    bound = Checks(card)
    every: list[Check] = [
        bound.check_figures, bound.check_examples, bound.check_seed, bound.check_global_draws,
        bound.check_input_unchanged, bound.check_few_items,
    ]  # fmt: skip
    if "encoder" in card.traits:
        return [*map(with_encoder, every), check_encoder]
    return [*every, bound.check_bad_input]
