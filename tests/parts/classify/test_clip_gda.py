"""What the contract does not ask of every classifier: text heads, one item a class, classes that arrive."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.contract.classify import planted
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make


def test_one_item_a_class_falls_back_to_the_nearest_direction():
    x = np.eye(3, 5) + 0.1
    part = make("classify", "clip-gda").fit(x, ["a", "b", "c"])
    assert part.predict(3 * x + 0.05).tolist() == ["a", "b", "c"]


def test_the_length_of_a_vector_does_not_matter():
    x, y = planted(0)
    part = make("classify", "clip-gda").fit(x, y)
    assert np.allclose(part.predict_proba(x), part.predict_proba(7 * x), atol=1e-5)


def test_a_strong_text_head_decides_where_alpha_is_small():
    x, y = planted(1)
    swapped = np.eye(3, 8)[[1, 2, 0]]
    alone = make("classify", "clip-gda").fit(x, y)
    led = make("classify", "clip-gda", alpha=1e-4).fit(x, y, text=swapped)
    assert (alone.predict(x) == y).mean() > 0.95 and (led.predict(x) == y).mean() < 0.05
    assert (make("classify", "clip-gda", alpha=1e3).fit(x, y, text=swapped).predict(x) == y).mean() > 0.95


def test_a_new_class_needs_a_new_text_head_and_a_refusal_changes_nothing():
    x, y = planted(2, classes=4)
    old = y != "class 3"
    part = make("classify", "clip-gda").fit(x[old], y[old], text=np.eye(3, 8))
    before = part.predict_proba(x)
    with pytest.raises(DataError, match="4 classes, 3 vectors"):
        part.observe(x[~old], y[~old])
    assert np.array_equal(part.predict_proba(x), before)
    part.observe(x[~old], y[~old], text=np.eye(4, 8))
    whole = make("classify", "clip-gda").fit(x, y, text=np.eye(4, 8))
    assert np.allclose(part.predict_proba(x), whole.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [(np.eye(3, 7), "8 were fitted"), (np.eye(2, 8), "2 vectors"), (np.full((3, 8), np.nan), "text")],
)
def test_a_text_head_that_does_not_fit_is_refused(text, words):
    with pytest.raises(DataError, match=words):
        make("classify", "clip-gda").fit(*planted(3), text=text)


@pytest.mark.parametrize("spec", ["clip-gda(alpha=0)", "clip-gda(temperature=-1)", "logistic-regression(c=0)"])
def test_options_out_of_bounds_are_refused(spec):
    with pytest.raises(PartError):
        make("classify", spec)


@pytest.mark.parametrize("name", ["nearest-mean", "logistic-regression"])
def test_items_that_are_all_equal_are_refused(name):
    with pytest.raises(DataError, match="all items are equal"):
        make("classify", name).fit(np.ones((4, 3)), [0, 1, 0, 1])


def test_observing_first_is_fitting():
    x, y = planted(4)
    for name in ("clip-gda", "nearest-mean"):
        first = make("classify", name).observe(x, y)
        assert np.array_equal(first.predict_proba(x), make("classify", name).fit(x, y).predict_proba(x))
