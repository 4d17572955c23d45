"""What every part that condenses promises.

    part(x, y, count, *, seed=0, **options) -> Condensed

x [n, d] vectors with labels y; at most `count` items come out, of every class one at least. Trait: `makes` (the items
are made, not chosen: they have no rows).
"""

from __future__ import annotations

import numpy as np

from tellapart.contract._draws import global_draws
from tellapart.contract.classify import Build, Check, must_refuse, planted
from tellapart.core.condensed import Condensed
from tellapart.core.parts import Card

COUNT = 14


def check_shape(build: Build) -> None:
    """At most as many items as were asked for, finite, each class among them, with weights of mean 1."""
    x, y = planted(0)
    found = build()(x, y, COUNT, seed=0)
    assert isinstance(found, Condensed), "a part of shape condense gives Condensed"
    m = len(found)
    assert 0 < m <= COUNT, f"{m} items where {COUNT} were asked for"
    assert found.x.shape == (m, x.shape[1]) and found.x.dtype == np.float32 and np.isfinite(found.x).all(), "bad x"
    assert set(found.y.tolist()) == set(y.tolist()), "the classes are other ones"
    assert len(found.weight) == m and (found.weight > 0).all(), "every item needs a weight above 0"
    assert abs(float(found.weight.mean()) - 1) < 1e-4, "the weights are not of mean 1"


def check_rows(build: Build) -> None:
    """Items that were chosen are those of their rows, each once."""
    x, y = planted(1)
    found = build()(x, y, COUNT, seed=0)
    assert found.rows is not None and len(set(found.rows.tolist())) == len(found), "a row was chosen twice, or none"
    assert np.allclose(found.x, x[found.rows]) and (found.y == y[found.rows]).all(), "rows are of other items"


def check_made(build: Build) -> None:
    """Made items have no rows, and are none of those that were given."""
    x, y = planted(1)
    found = build()(x, y, COUNT, seed=0)
    assert found.rows is None, "items with rows were chosen"
    assert ((found.x[:, None] - x[None]) ** 2).sum(axis=2).min() > 0, "an item that was given is called made"


def check_useful(build: Build) -> None:
    """The nearest condensed item tells the class of held-out items."""
    x, y = planted(2)
    found = build()(x, y, COUNT, seed=0)
    held, truth = planted(3)
    nearest = ((held[:, None] - found.x[None]) ** 2).sum(axis=2).argmin(axis=1)
    right = float((found.y[nearest] == truth).mean())
    assert right >= 0.8, f"only {right:.0%} of held-out items are nearest to one of their class"


def check_seed(build: Build) -> None:
    """Equal seeds give equal items, whatever was drawn before, and the input stays as it is."""
    x, y = planted(4)
    before, drawn = x.copy(), global_draws()
    first = build()(x, y, COUNT, seed=3)
    again = build()(x, y, COUNT, seed=3)
    assert np.array_equal(first.x, again.x) and np.array_equal(first.y, again.y), "two calls with one seed differ"
    assert np.array_equal(x, before), "the input was changed in place"
    assert global_draws() == drawn, "it draws from the global generator"


def check_bad_input(build: Build) -> None:
    """What cannot be used is refused in words."""
    x, y = planted(5)
    holed = x.copy()
    holed[3, 1] = np.nan
    must_refuse("values that are not finite", lambda: build()(holed, y, COUNT))
    must_refuse("fewer labels than items", lambda: build()(x, y[:-1], COUNT))
    must_refuse("no items", lambda: build()(x[:0], y[:0], 1))
    must_refuse("fewer than classes", lambda: build()(x, y, 1))
    must_refuse("more than there are", lambda: build()(x, y, len(x) + 1))


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part."""
    kind = check_made if "makes" in card.traits else check_rows
    return [check_shape, kind, check_useful, check_seed, check_bad_input]
