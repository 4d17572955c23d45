"""What every map between two spaces of vectors promises.

    part.fit(new, old, *, pairs=None, seed=0) -> part
    part.transform(new, *, side="query") -> [n, d'] float32 of length 1
    part.layers(side="query") -> the same map as dense layers

`new` [n, d] and `old` [n, d'] are vectors of the same items, row by row, under two encoders; every row is taken at
length 1. `pairs` are (queries [p, d], documents [p, d]) in the new space, for parts that tune by them (trait `pairs`);
others leave them aside. `side` is `query` or `document`: what is to be mapped. `transform` needs numpy alone.

What is learnt is kept in attributes that end in `_` and are numpy arrays of numbers, and nowhere else, so that they can
be saved and put into a part made with the same options.

Traits: `converts` (old vectors move too: `convert(old)` -> [n, d'], the width that `transform` gives), `texts` (`fit`
is given vectors of texts alone), `pairs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.contract.classify import Build, Check, must_refuse
from tellapart.core.aligning import SIDES
from tellapart.core.parts import Card

CLOSE = 1e-5


class World:
    """Items under two encoders that differ by a rotation and some noise, and pairs of them in the new space."""

    def __init__(self, seed: int, *, new: int = 16, old: int = 16, items: int = 240, noise: float = 0.05) -> None:
        rng = np.random.default_rng(seed)
        inner = rng.normal(size=(items, min(new, old)))
        self.new, self.old = (
            _unit(_turned(inner, width, rng) + noise * rng.normal(size=(items, width))) for width in (new, old)
        )
        near = _unit(self.new + noise * rng.normal(size=self.new.shape))
        self.pairs = self.new[:40], near[:40]

    def fitted(self, part: Any, *, seed: int = 0) -> Any:
        """The part, fitted on the first 180 items and the pairs."""
        return part.fit(self.new[:180], self.old[:180], pairs=self.pairs, seed=seed)

    def stored(self, part: Any) -> np.ndarray:
        """What an index holds for the other items: their old vectors, converted where the part does that."""
        return part.convert(self.old[180:]) if hasattr(part, "convert") else self.old[180:]


def _turned(inner: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    return inner @ np.linalg.qr(rng.normal(size=(width, width)))[0][: inner.shape[1]]


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


class Checks:
    """The checks of one card."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def check_shape(self, build: Build) -> None:
        """Float32 rows of length 1 and of the width of what is stored, on both sides, whatever the two widths are."""
        for new, old in ((16, 16), (20, 12), (12, 20)):
            world = World(0, new=new, old=old)
            part = world.fitted(build())
            stored = world.stored(part)
            for side in SIDES:
                z = part.transform(world.new[180:], side=side)
                assert z.shape == stored.shape, f"{z.shape} cannot be compared with what is stored, {stored.shape}"
                assert z.dtype == np.float32, f"vectors must be float32, they are {z.dtype}"
                assert np.allclose(np.linalg.norm(z, axis=1), 1, atol=1e-4), "vectors must have length 1"

    def check_finds(self, build: Build) -> None:
        """Among items never seen, the new vector of one finds its stored vector, where only a rotation lies between."""
        world = World(1)
        part = world.fitted(build())
        for side in SIDES:
            scores = part.transform(world.new[180:], side=side) @ world.stored(part).T
            share = float((scores.argmax(axis=1) == np.arange(len(scores))).mean())
            assert share >= 0.9, f"only {share:.2f} of the {side} vectors find their item across a mere rotation"

    def check_rows_alone(self, build: Build) -> None:
        """The vector of an item does not depend on those beside it."""
        world = World(2)
        part = world.fitted(build())
        whole = part.transform(world.new)
        alone = np.concatenate([part.transform(world.new[i : i + 1]) for i in range(5)])
        assert np.allclose(whole[:5], alone, atol=CLOSE), "an item's vector depends on its batch"

    def check_lengths(self, build: Build) -> None:
        """Longer or shorter vectors are the same vectors: lengths do not count, in fitting or afterwards."""
        world = World(3)
        part = world.fitted(build())
        assert np.allclose(part.transform(7 * world.new), part.transform(world.new), atol=CLOSE), "lengths count"
        other = build().fit(3 * world.new[:180], 0.5 * world.old[:180], pairs=world.pairs)
        assert np.allclose(other.transform(world.new), part.transform(world.new), atol=1e-3), "lengths count in `fit`"

    def check_layers(self, build: Build) -> None:
        """`layers` is the map: dense layers with ReLU where they say so, then length 1."""
        world = World(4)
        part = world.fitted(build())
        for side in SIDES:
            z = world.new.astype(np.float64)
            for layer in part.layers(side):
                z = z @ layer.weight.T + layer.bias
                z = np.maximum(z, 0) if layer.relu else z
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            assert np.allclose(z, part.transform(world.new, side=side), atol=1e-4), "layers and transform differ"

    def check_saved(self, build: Build) -> None:
        """Arrays that end in `_`, put into a part made anew, are the whole of what was learnt."""
        world = World(5)
        part, other = world.fitted(build()), build()
        held = {name: value for name, value in vars(part).items() if name.endswith("_")}
        assert held, "nothing was learnt: keep it in attributes that end in `_`"
        for name, value in held.items():
            assert isinstance(value, np.ndarray) and value.dtype.kind in "fiu", f"{name} is no array of numbers"
            setattr(other, name, value.copy())
        for side in SIDES:
            same = np.array_equal(other.transform(world.new, side=side), part.transform(world.new, side=side))
            assert same, "a part that was saved and read gives other vectors"
        if hasattr(part, "convert"):
            assert np.array_equal(other.convert(world.old), part.convert(world.old)), "it converts otherwise"

    def check_repeats(self, build: Build) -> None:
        """The same items and seed give the same map, and fitting again forgets what was fitted before."""
        world = World(6)
        part = world.fitted(build())
        again = World(7).fitted(build())
        world.fitted(again)
        for other in (world.fitted(build()), again):
            assert np.array_equal(other.transform(world.new), part.transform(world.new)), "another map the second time"

    def check_input_unchanged(self, build: Build) -> None:
        """Vectors that are given are left as they were, and may be read-only."""
        world = World(8)
        held = (world.new, world.old, *world.pairs)
        before = [x.copy() for x in held]
        for _ in range(2):
            part = world.fitted(build())
            part.transform(world.new)
            world.stored(part)
            assert all(np.array_equal(x, old) for x, old in zip(held, before, strict=True)), "the input was changed"
            for x in held:
                x.flags.writeable = False

    def check_pairs_left_out(self, build: Build) -> None:
        """`pairs` may be left out; a part without the trait `pairs` does not look at them."""
        world = World(9)
        without = build().fit(world.new[:180], world.old[:180]).transform(world.new)
        assert np.isfinite(without).all()
        if "pairs" not in self.card.traits:
            same = np.array_equal(without, world.fitted(build()).transform(world.new))
            assert same, "pairs matter to a part without the trait `pairs`"

    def check_converts(self, build: Build) -> None:
        """With the trait `converts` old vectors are brought into the space of `transform`; without it they stay."""
        world = World(10, old=12)
        part = world.fitted(build())
        if "converts" not in self.card.traits:
            assert not hasattr(part, "convert"), "a part that converts old vectors has the trait `converts`"
            return
        z = part.convert(world.old)
        assert z.shape == part.transform(world.new).shape and z.dtype == np.float32
        assert np.allclose(np.linalg.norm(z, axis=1), 1, atol=1e-4), "converted vectors must have length 1"
        must_refuse("old vectors of another width", lambda: part.convert(world.old[:, :-1]))
        must_refuse("converting before `fit`", lambda: build().convert(world.old))

    def check_bad_input(self, build: Build) -> None:
        """What cannot be mapped is refused in words."""
        world = World(11)
        new, old = world.new[:180], world.old[:180]
        holed, empty = new.copy(), old.copy()
        holed[3, 2], empty[4] = np.nan, 0
        part = world.fitted(build())
        refused: dict[str, Callable[[], Any]] = {
            "a NaN among the new vectors": lambda: build().fit(holed, old),
            "a NaN among the old vectors": lambda: build().fit(new, holed),
            "an old vector of zeros": lambda: build().fit(new, empty),
            "sides of different lengths": lambda: build().fit(new, old[:-1]),
            "a single item": lambda: build().fit(new[:1], old[:1]),
            "no items": lambda: build().fit(new[:0], old[:0]),
            "a vector instead of a matrix": lambda: build().fit(new[0], old[0]),
            "mapping before `fit`": lambda: build().transform(new),
            "vectors of another width": lambda: part.transform(new[:, :-1]),
            "a NaN to be mapped": lambda: part.transform(holed),
        }
        if "pairs" in self.card.traits:
            refused["pairs of another width"] = lambda: build().fit(new, old, pairs=(new[:9, :-1], new[:9, :-1]))
            refused["pairs of different numbers"] = lambda: build().fit(new, old, pairs=(new[:9], new[:8]))
        for what, call in refused.items():
            must_refuse(what, call)


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part."""
    bound = Checks(card)
    return [
        bound.check_shape, bound.check_finds, bound.check_rows_alone, bound.check_lengths, bound.check_layers,
        bound.check_saved, bound.check_repeats, bound.check_input_unchanged, bound.check_pairs_left_out,
        bound.check_converts, bound.check_bad_input,
    ]  # fmt: skip
