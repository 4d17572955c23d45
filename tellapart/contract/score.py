"""What every score promises: higher = more of what its trait says (`unknown` or `target`), item by item.

Traits: `unknown` (higher = less like what was fitted), `target` (higher = more like the items marked in y), `texts`
(items are texts, otherwise vectors), `labels` (fitting needs labels), `classes` (`add_class`), `layers` (a list of
feature blocks), `select` (`select(x, n, rng=)`), `stream` (`observe`), `names` (fitted on items, the vectors of their
texts in place of labels, and `names=`, vectors of class names; `named(names)` asks for others, and `unknown(x)` decides
without a threshold), `sources` (texts of a pool are marked in y with the name of their source, the target's with True,
and `select` is told the sources: `sources=`);
`positions` (items are maps of vectors, [n, h, w, d]; `maps(x)` says where);
`grades` (fitted on a number for each item, in y; higher = better, as these say; `tellapart grade`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.contract._positions import CHECKS as PLACES
from tellapart.contract._positions import with_positions
from tellapart.contract.classify import Build, Check, must_refuse, planted
from tellapart.core.parts import Card

NEED_Y = {"labels", "target", "names", "grades"}
WORDS = {
    1: ["boat", "sail", "harbour", "tide", "anchor", "wave", "deck", "mast", "rope", "keel"],
    0: ["bread", "oven", "flour", "salt", "knead", "crust", "yeast", "butter", "sugar", "dough"],
}


def planted_texts(seed: int, each: int = 30) -> tuple[list[str], np.ndarray]:
    """Texts of two topics that share half of their words; y true for the target's topic."""
    rng = np.random.default_rng(seed)
    shared = ["the", "a", "of", "and", "in", "with", "to", "from", "old", "small"]
    marks = rng.permutation(np.repeat([True, False], each))
    texts = [" ".join(rng.choice(WORDS[int(m)] + shared, size=rng.integers(8, 16))) for m in marks]
    return texts, marks


def graded(x: np.ndarray) -> np.ndarray:
    """Grades that rise along one direction of planted vectors."""
    return np.asarray(x @ np.array([0, 1, 2, 0.5, 0, 0, 0, 0]), np.float64)


def planted_sources(seed: int) -> tuple[list[str], np.ndarray]:
    """The planted texts as a target and a pool of four sources, one of which has the target's topic."""
    texts, marks = planted_texts(seed)
    rng = np.random.default_rng(seed)
    y = [(rng.random() < 0.5 or "sea") if mark else f"kitchen {rng.integers(3)}" for mark in marks]
    return texts, np.array(y, dtype=object)


class Checks:
    """The checks of one card: which data a part is given follows from its traits."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.texts = "texts" in card.traits
        self.sources = "sources" in card.traits

    def data(self, seed: int) -> tuple[Any, Any]:
        """(items, y) to fit with; of a target among vectors, y is true for one of three kinds."""
        if self.texts:
            return planted_sources(seed) if self.sources else planted_texts(seed)
        x, y = planted(seed)
        if "grades" in self.card.traits:
            return x, graded(x)
        return (x, y == "class 0") if "target" in self.card.traits else (x, y)

    def held(self, seed: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
        """(items, which of them are like the target, what `select` is told beside them)."""
        if not self.sources:
            return *self.data(seed), {}
        texts, wanted = planted_texts(seed)
        return texts, wanted, {"sources": ["sea" if mark else "kitchen 1" for mark in wanted]}

    def probe(self, seed: int) -> Any:
        """Items of all kinds to score."""
        if self.texts:
            return planted_texts(seed)[0]
        known = planted(seed, each=5)[0]
        return np.concatenate([known, known + 3, np.random.default_rng(seed).normal(size=(9, 8))]).astype(np.float32)

    def check_shape(self, build: Build) -> None:
        """[n] float32, finite."""
        score = build().fit(*self.data(0)).score(probe := self.probe(1))
        assert isinstance(score, np.ndarray) and score.shape == (len(probe),), "score must be one number an item"
        assert score.dtype == np.float32, f"score must be float32, it is {score.dtype}"
        assert np.isfinite(score).all(), "score must be finite"

    def check_higher_is_more_unknown(self, build: Build) -> None:
        """Far and unseen items score above held-out items of the fitted kinds."""
        part = build().fit(*self.data(2))
        known, _ = planted(3)
        far = -4 * np.eye(8)[4:7].repeat(7, axis=0) + np.random.default_rng(4).normal(scale=0.5, size=(21, 8))
        above = (part.score(far.astype(np.float32))[:, None] > part.score(known)[None]).mean()
        assert above >= 0.95, f"unknown items score above known ones in only {above:.2f} of the pairs"

    def check_higher_is_more_target(self, build: Build) -> None:
        """Held-out items of the target score above the others."""
        part = build().fit(*self.data(2))
        x, y, _ = self.held(3)
        score = part.score(x)
        above = (score[y][:, None] > score[~y][None]).mean()
        assert above >= 0.95, f"target items score above others in only {above:.2f} of the pairs"

    def check_higher_is_better(self, build: Build) -> None:
        """Held-out items of a higher grade score above those of a lower one."""
        part = build().fit(*self.data(2))
        x, y = self.data(3)
        above, apart = part.score(x)[:, None] > part.score(x), y[:, None] > y + y.std() / 2
        assert above[apart].mean() >= 0.9, f"better items score above others in only {above[apart].mean():.2f}"

    def check_no_batch_mates(self, build: Build) -> None:
        """An item's score does not depend on the batch, nor on how it is cut, nor on what was scored before."""
        part = build().fit(*self.data(5))
        x = self.probe(6)
        whole = part.score(x)
        alone = np.concatenate([part.score(x[i : i + 1]) for i in range(len(x))])
        halves = np.concatenate([part.score(x[:7]), part.score(x[7:])])
        tolerance = 1e-4 * max(1.0, float(np.abs(whole).max()))
        assert np.allclose(whole, alone, atol=tolerance), "an item alone has another score than in a batch"
        assert np.allclose(whole, halves, atol=tolerance), "a batch in two chunks has other scores than whole"
        assert np.array_equal(whole, part.score(x)), "scoring changes the part"

    def check_refit_forgets(self, build: Build) -> None:
        """A second `fit` gives what a fresh part gives."""
        x = self.probe(8)
        again, fresh = build().fit(*self.data(20)).fit(*self.data(7)), build().fit(*self.data(7))
        assert np.allclose(again.score(x), fresh.score(x), atol=1e-4), "a refit remembers"

    def check_input_unchanged(self, build: Build) -> None:
        """Neither fitting nor scoring changes what was given."""
        x, y = self.data(9)
        given = list(x) if self.texts else x.copy()
        build().fit(x, y).score(x)
        assert list(x) == given if self.texts else np.array_equal(x, given), "the input was changed in place"

    def check_labels_needed(self, build: Build) -> None:
        """A part that needs y says so."""
        must_refuse("fitting without y", lambda: build().fit(self.data(10)[0]))

    def check_labels_not_needed(self, build: Build) -> None:
        """A part without the trait `labels` or `target` is fitted by x alone."""
        x, y = self.data(10)
        assert np.allclose(build().fit(x).score(x), build().fit(x, y).score(x)), "labels are used but not declared"

    def check_bad_input(self, build: Build) -> None:
        """What cannot be used is refused in words."""
        x, y = self.data(11)
        part = build().fit(x, y)
        refused: dict[str, Callable[[], Any]] = {
            "no items": lambda: build().fit(x[:0], y[:0]),
            "a part that was not fitted": lambda: build().score(x),
            "nothing to score": lambda: part.score(x[:0]),
        }
        if self.texts:
            refused["a number among texts"] = lambda: part.score([*x[:3], 7])
            refused["one text in place of a list"] = lambda: part.score(x[0])
            refused["fewer marks than texts"] = lambda: build().fit(x, y[:-1])
            refused["no target"] = lambda: build().fit(x, np.zeros(len(x), dtype=bool))
        else:
            holed = x.copy()
            holed[3, 1] = np.nan
            refused["values that are not numbers"] = lambda: build().fit(holed, y)
            refused["values that are not numbers in scoring"] = lambda: part.score(holed)
            refused["another width"] = lambda: part.score(x[:, :5])
        if self.sources:
            pool = [i for i, mark in enumerate(y) if mark is not True]
            refused["a pool alone"] = lambda: build().fit([x[i] for i in pool], y[pool])
            refused["one source"] = lambda: build().fit(x, [True if mark is True else "all" for mark in y])
        if {"labels", "names"} & set(self.card.traits):
            refused["fewer labels than items"] = lambda: build().fit(x, y[:-1])
            refused["one class"] = lambda: build().fit(x, np.repeat("a", len(x)))
        if "grades" in self.card.traits:
            refused["fewer grades than items"] = lambda: build().fit(x, y[:-1])
            refused["words for grades"] = lambda: build().fit(x, np.repeat("good", len(x)))
            refused["grades all alike"] = lambda: build().fit(x, np.ones(len(x)))
        for what, call in refused.items():
            must_refuse(what, call)

    def check_class_added(self, build: Build) -> None:
        """A class given to `add_class` is known from then on, and `predict` names it."""
        x, y = planted(12, classes=4, each=40)
        late = y == "class 3"
        part = build().fit(x[~late], y[~late])
        held, marks = planted(13, classes=4)
        new = held[marks == "class 3"]
        before = part.score(new)
        part.add_class(x[late], "class 3")
        after = part.score(new)
        assert (after < before).mean() >= 0.95, "items of an added class are as unknown as before"
        assert (part.predict(new) == "class 3").mean() >= 0.95, "predict does not name the added class"
        assert (part.predict(held) == marks).mean() >= 0.95, "the old classes are lost"

    def check_layers(self, build: Build) -> None:
        """One layer in a list is that layer; several give one score an item; another number of layers is refused."""
        x, y = self.data(14)
        probe = self.probe(15)
        one = build().fit(x, y).score(probe)
        assert np.allclose(one, build().fit([x], y).score([probe]), rtol=1e-5), "a list of one layer is not that layer"
        two = build().fit([x, x[:, :5]], y)
        assert two.score([probe, probe[:, :5]]).shape == (len(probe),), "two layers do not give one score an item"
        must_refuse("fewer layers than fitted", lambda: two.score([probe]))

    def check_select(self, build: Build) -> None:
        """`select` gives n distinct rows in rising order, equal for equal draws, richer in target than the pool."""
        part = build().fit(*self.data(16))
        x, y, told = self.held(17)

        def select(n: int) -> np.ndarray:
            return np.asarray(part.select(x, n, rng=np.random.default_rng(0), **told))

        rows = select(20)
        assert len(rows) == 20 and (np.diff(rows) > 0).all(), "select must give n distinct rows, rising"
        assert np.array_equal(rows, select(20)), "equal draws select differently"
        assert y[rows].mean() > y.mean(), "the selection holds no more of the target than the pool"
        must_refuse("selecting more than there is", lambda: select(len(x) + 1))

    def check_observe_is_fit(self, build: Build) -> None:
        """`observe` in pieces gives what one `fit` on all gives."""
        x, y = self.data(18)
        half = len(x) // 2
        pieces, whole = build().fit(x[:half], y[:half]).observe(x[half:], y[half:]), build().fit(x, y)
        assert np.allclose(pieces.score(x), whole.score(x), atol=1e-4), "observing is not fitting on all"


class Named:
    """A part of the trait `names` that is fitted as one of labels is: items of a class share a text, its name."""

    def __init__(self, part: Any) -> None:
        self.part = part
        self.score = part.score

    def fit(self, x: Any, y: Any = None) -> Named:
        """With the three classes' names."""
        if y is None:
            self.part.fit(x)
        texts = np.eye(8)[[int(label[-1]) if label[-1].isdigit() else 7 for label in y.tolist()]]
        self.part.fit(x, texts, names=np.eye(8)[:3])
        return self


def with_names(check: Check) -> Check:
    """A check, for a part that is fitted on texts and names."""

    @functools.wraps(check)
    def checked(build: Build) -> None:
        check(lambda **options: Named(build(**options)))

    return checked


def check_names(build: Build) -> None:
    """What belongs to a name is known and the rest is not, by `unknown`, and other names are asked without training."""
    x, y = planted(30, each=60)
    part = build().fit(x, 4 * np.eye(8)[[int(label[-1]) for label in y.tolist()]], names=np.eye(8)[:2])
    held, marks = planted(31)
    last = marks == "class 2"
    said = part.unknown(held)
    assert said.dtype == bool and said.shape == (len(held),), "unknown must be one answer an item"
    assert said[last].mean() >= 0.9 and said[~last].mean() <= 0.1, "unknown does not tell what has no name"
    assert part.named(np.eye(8)[1:3]).unknown(held)[last].mean() <= 0.1, "an item of another name is still unknown"
    must_refuse("names of another width", lambda: part.named(np.eye(5)[:2]))
    must_refuse("one name", lambda: part.named(np.eye(8)[:1]))
    must_refuse("no names", lambda: build().fit(x, x))


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part, by its traits."""
    bound, traits = Checks(card), set(card.traits)
    found: list[Check] = [
        bound.check_shape, bound.check_no_batch_mates, bound.check_refit_forgets, bound.check_input_unchanged,
        bound.check_bad_input,
        bound.check_labels_needed if traits & NEED_Y else bound.check_labels_not_needed,
    ]  # fmt: skip
    for trait, check in (
        ("unknown", bound.check_higher_is_more_unknown),
        ("target", bound.check_higher_is_more_target),
        ("grades", bound.check_higher_is_better),
        ("classes", bound.check_class_added),
        ("layers", bound.check_layers),
        ("select", bound.check_select),
        ("stream", bound.check_observe_is_fit),
    ):
        if trait in traits:
            found.append(check)
    if "positions" in traits:
        return [*map(with_positions, found), *PLACES]
    return [*map(with_names, found), check_names] if "names" in traits else found
