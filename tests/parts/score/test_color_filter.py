"""Streams, counters and refusals of the filter by conditional loss reduction."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tellapart.contract.score import planted_texts
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.parts.score import _hashed


@pytest.fixture(scope="module")
def fitted():
    return make("score", "color-filter").fit(*planted_texts(0))


def test_streams_give_what_lists_give(fitted, monkeypatch):
    texts, marks = planted_texts(0)
    monkeypatch.setattr(_hashed, "_TEXTS", 7)
    monkeypatch.setattr(_hashed, "_LETTERS", 200)
    streamed = make("score", "color-filter").fit((t for t in texts), (m for m in marks))
    assert np.array_equal(streamed.counts_, fitted.counts_)
    assert np.allclose(streamed.score(t for t in texts), fitted.score(texts), atol=1e-6)


def test_blocks_end_by_texts_and_by_letters(monkeypatch):
    monkeypatch.setattr(_hashed, "_LETTERS", 10)
    assert [len(b) for b in _hashed.blocks(["abcdefghijkl", "a", "b", "c" * 9, "d"])] == [1, 3, 1]
    monkeypatch.setattr(_hashed, "_TEXTS", 2)
    assert [len(b) for b in _hashed.blocks(iter("abcde"))] == [2, 2, 1]


def test_reading_the_target_lowers_the_loss_of_the_target_and_not_of_the_rest(fitted):
    texts, marks = planted_texts(1)
    prior, conditional = fitted.losses(texts).T
    assert (conditional[marks] < prior[marks]).all() and (conditional[~marks] > prior[~marks]).mean() > 0.9


def test_what_is_easy_to_predict_gains_nothing():
    """Words that pool and target hold equally often: the conditional model likes them best, the filter does not."""
    rng = np.random.default_rng(0)
    pool = [f"x{i} the the the" for i in range(60)] + [" ".join(rng.choice(list("abcdefgh"), 4)) for _ in range(60)]
    target = [f"y{i} the the the" for i in range(20)] + ["a b a b"] * 5
    part = make("score", "color-filter").fit(target + pool, [True] * 25 + [False] * 120)
    probe = ["the the the", "a b a b", "g h g h"]
    assert part.losses(probe)[:, 1].argmin() == 0 and part.score(probe).argmax() == 1


def test_no_text_is_scored_by_a_prior_that_read_it():
    """One text more in the pool changes what is said of others, not of itself; an equal text is no news either."""
    texts, marks = planted_texts(2)
    one = make("score", "color-filter", ngrams=3).fit(texts, marks)
    more = make("score", "color-filter", ngrams=3).fit([*texts, "a rare harbour", "a rare harbour"], [*marks, 0, 0])
    probe = ["a rare harbour", "a rare harbour of old", "rare", "harbour", "rare harbour"]
    same = one.losses(probe)[:, 0] == more.losses(probe)[:, 0]
    assert same[0] and 0 < same[1:].sum() < 4, "some of the others lie in either half"


def test_the_halves_are_the_same_in_another_process_and_in_another_order():
    texts, marks = planted_texts(2)
    here = make("score", "color-filter").fit(texts, marks)
    back = make("score", "color-filter").fit(texts[::-1], marks[::-1])
    assert np.array_equal(here.counts_, back.counts_) and here.words_.min() > 100
    code = (
        "from tellapart.contract.score import planted_texts\nfrom tellapart.core.parts import make\n"
        "p = make('score', 'color-filter').fit(*planted_texts(2))\n"
        "print(p.counts_[0, 1].nonzero()[0].tolist())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{here.counts_[0, 1].nonzero()[0].tolist()}\n"


@pytest.mark.parametrize(
    ("texts", "marks", "words"),
    [
        (["a", "b"], [True, True], "the pool holds no words"),
        (["a", " "], [True, False], "the pool holds no words"),
        ([" ", "a"], [True, False], "the target holds no words"),
        (["a", "b"], [True, False, True], "more marks"),
        (["a", "b"], [True, 2], "true .target. or false"),
        (["a", b"b"], [True, False], "bytes"),
        ("a b", [True, False], "not one text"),
        (["a", "b"], None, "must know the target"),
    ],
)
def test_what_cannot_be_fitted_is_said(texts, marks, words):
    with pytest.raises(DataError, match=words):
        make("score", "color-filter").fit(texts, marks)


def test_a_refused_refit_leaves_the_part_as_it_was(fitted):
    texts, marks = planted_texts(0)
    before = fitted.score(texts)
    for call in (lambda: fitted.fit([*texts, 3], [*marks, True]), lambda: fitted.observe(["more"], [7])):
        with pytest.raises(DataError):
            call()
    assert np.array_equal(fitted.score(texts), before)


def test_lone_surrogates_and_texts_without_words_are_scored(fitted):
    assert np.isfinite(fitted.score(["\ud800 sail", "", "   "])).all()
