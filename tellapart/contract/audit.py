"""What every audit promises.

    part(vectors, collection, *, seed=0, **options) -> Report

`vectors` maps a name to an array with a row for each item of the collection. A part takes the names it knows: `query`
and `document` (frozen features of both sides), `q` and `k` (unit vectors of both sides under the model, in one space),
`image` (vectors of the encoder under audit), `other` (of a second encoder), `pixels` ([n, h, w] or [n, h, w, 3]),
`text` (vectors in the space of `image`). The traits of its card name those that it cannot do without.

What is no array, and what else a trait asks for:

- `encoder` encodes texts that the part makes: `query(texts)` and `document(texts)` give [n, d], and `cut` counts the
  texts that were longer than it reads.
- `pictures` are the items' pictures, opened one by one: `pictures[row]` is an RGB image, at most 448 pixels a side;
  `pictures.opacity(row)`, where there is that method, is how opaque it is (mode L); None where nothing shines through.
- `image-encoder` and `text-encoder` are functions of a list of pictures or texts that the part makes, to [n, d] in the
  space of `image` and `text`; of an item's own picture it gives the row of `image` (up to rounding).
- `composer(reference, words)` joins [n, d] vectors of pictures and of words into ones to search with, where a run has
  learnt that; no trait asks for it.
- `labels`: the collection has a column `label` with two values or more; `captions`: a column `text`.
- `before-after`: the part compares two pictures, and has an option `pair`, a column of which two items have one value;
  where the collection has no such column, but `other_image` beside `image`, it is given two items for each of its items
  (`before_after.py`).
- `asks`: the part needs something of its user beyond model and collection, and is run where it is named; so is one of
  the trait `long`, which takes minutes.

What a part has looked for it says in findings (`core.report.Finding`), found or not; whoever reads the report corrects
their p for how many there are (`auditing.py`).
"""

from __future__ import annotations

import functools
import string
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tellapart.contract._over_vectors import Untouched
from tellapart.contract.classify import Build, Check, must_refuse
from tellapart.core.collection import Collection
from tellapart.core.features import unit_rows
from tellapart.core.parts import Card
from tellapart.core.report import Examples, Finding, Report, Text

NAMES = ("query", "document", "q", "k", "image", "other", "pixels", "text")
MENDS = ("model", "data")


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
        "q": unit_rows(query[:, :6] + 0.3 * rng.normal(size=(n, 6))),
        "k": unit_rows(query[:, :6]),
    }
    group = np.where(np.arange(n) < n - 20, np.arange(n), n + np.arange(n) // 2)
    columns: dict[str, Any] = {
        "id": [f"i{i:04d}" for i in range(n)],
        "label": [f"kind {t}" for t in rng.integers(0, 3, n)],
        "text": [" ".join(f"w{w}" for w in row) for row in np.random.default_rng(seed).integers(0, 99, (n, 9))],
        "group": group,
        "split": ["test" if g % 3 == 0 else "train" for g in group],
    }
    return {name: value.astype(np.float32) for name, value in vectors.items()}, Collection.of(columns)


def _called(build: Build, vectors: Any, collection: Collection) -> Any:
    return build()(vectors, collection, seed=0)


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
        assert report.figures(), "the report holds no figure"
        for figure in report.figures():
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
            shown = block.items if isinstance(block, Examples) else block.examples if isinstance(block, Finding) else ()
            for example in shown:
                assert set(example.ids) <= set(collection.ids.tolist()), "an example is no item of the collection"
                assert example.why, "an example does not say why it is shown"

    def check_findings(self, build: Build) -> None:
        """Findings are said in words, once, with a chance; what they are the mean of is there item by item."""
        vectors, collection = self.world(0)
        found = build()(vectors, collection, seed=0).findings()
        names = [finding.figure.name for finding in found]
        assert len(set(names)) == len(names), "two findings have one name"
        for finding in found:
            name = finding.figure.name
            assert finding.said, f"{name} is not said in words"
            assert 0 <= finding.p <= 1, f"{name}: p is {finding.p}"
            assert len(finding.ids) == len(finding.values), f"{name}: not as many ids as values"
            assert set(finding.ids) <= set(collection.ids.tolist()), f"{name}: an id is no item of the collection"
            if len(finding.values):
                assert abs(float(np.mean(finding.values)) - finding.figure.value) < 1e-6, f"{name} is not their mean"
            fields = {field for _, field, _, _ in string.Formatter().parse(finding.mend) if field is not None}
            assert fields <= set(MENDS), f"{name}: its command has a place for {fields - set(MENDS)}"

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
            refused[f"{name} that is not finite"] = functools.partial(_called, build, holed, collection)
        if self.needed:
            fewer = {n: v for n, v in vectors.items() if n != self.needed[0]}
            refused[f"vectors without {self.needed[0]}"] = lambda: build()(fewer, collection, seed=0)
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


def bag_of_pixels(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Vectors of pictures for the checks: their colours in nine places, in six fixed directions."""
    places = np.stack([np.asarray(p.convert("RGB").resize((3, 3)), np.float32).ravel() / 255 for p in pictures])
    return np.asarray(places @ np.random.default_rng(0).normal(size=(27, 6)), np.float32)


def bag_of_words(texts: Sequence[str]) -> np.ndarray:
    """Vectors of texts for the checks, in the space of `bag_of_pixels`."""
    return np.asarray(BagOfWords().query(list(texts))[:, :6], np.float32)


def pictures(n: int) -> list[Image.Image]:
    """A disc in one of five colours on one of two grounds."""
    return [_disc(i) for i in range(n)]


def _disc(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    image = Image.new("RGB", (32, 32), ("white", "navy")[int(rng.integers(2))])
    x, y, r = (int(v) for v in rng.integers((6, 6, 5), (14, 14, 12)))
    ink = ("red", "green", "orange", "purple", "grey")[number % 5]
    ImageDraw.Draw(image).ellipse((x, y, x + 2 * r, y + 2 * r), fill=ink)
    return image


SUPPLIED: dict[str, Callable[[int], Any]] = {
    "encoder": lambda n: BagOfWords(),
    "pictures": pictures,
    "image-encoder": lambda n: bag_of_pixels,
    "text-encoder": lambda n: bag_of_words,
}


def supplied(check: Check, names: Sequence[str]) -> Check:
    """A check, for a part that is given what is no array as well."""

    @functools.wraps(check)
    def checked(build: Build) -> None:
        def made(**options: Any) -> Callable[..., Any]:
            audit = build(**options)

            def call(vectors: Any, collection: Collection, **seed: Any) -> Any:
                given = {**vectors, **{name: SUPPLIED[name](len(collection)) for name in names}}
                if "image-encoder" in names and "image" in vectors:
                    wrong = not np.isfinite(vectors["image"]).all() or len(vectors["image"]) != len(collection)
                    given["image"] = vectors["image"] if wrong else bag_of_pixels(pictures(len(collection)))
                return audit(given, collection, **seed)

            return call

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
        given = {**vectors, "encoder": wrong()}
        must_refuse(wrong.__name__, functools.partial(_called, build, given, collection))


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part."""
    bound = Checks(card)
    every: list[Check] = [
        bound.check_figures, bound.check_examples, bound.check_findings, bound.check_seed, bound.check_global_draws,
        bound.check_input_unchanged, bound.check_few_items,
    ]  # fmt: skip
    every += [] if "encoder" in card.traits else [bound.check_bad_input]
    names = [name for name in SUPPLIED if name in card.traits]
    every = [supplied(check, names) for check in every] if names else every
    return [*every, check_encoder] if "encoder" in card.traits else every
