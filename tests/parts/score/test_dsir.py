"""Streams, draws and hashes of the importance weights."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from tellapart.contract.score import planted_texts
from tellapart.core.errors import DataError
from tellapart.core.parts import make


@pytest.fixture(scope="module")
def fitted():
    return make("score", "dsir").fit(*planted_texts(0))


def test_streams_give_what_lists_give(fitted):
    texts, marks = planted_texts(0)
    streamed = make("score", "dsir").fit((t for t in texts), (m for m in marks))
    assert np.array_equal(streamed.score(t for t in texts), fitted.score(texts))


def test_blocks_do_not_show(fitted, monkeypatch):
    texts, marks = planted_texts(0)
    monkeypatch.setattr(importlib.import_module("tellapart.parts.score.dsir"), "_TEXTS_A_BLOCK", 7)
    small = make("score", "dsir").fit(texts, marks)
    assert np.array_equal(small.score(texts), fitted.score(texts)) and np.array_equal(small.counts_, fitted.counts_)


def test_buckets_are_the_same_in_another_process():
    code = (
        "from tellapart.core.parts import make\n"
        "print(make('score', 'dsir').fit(['naïve café — 3.5 kg', 'x'], [1, 0]).counts_[1].nonzero()[0].tolist())"
    )
    ran = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    ]
    here = make("score", "dsir").fit(["naïve café — 3.5 kg", "x"], [1, 0]).counts_[1].nonzero()[0].tolist()
    assert ran[0] == ran[1] == f"{here}\n"


def test_draws_follow_the_importance_weights():
    """Drawing one of two texts whose weights differ by w takes the heavier in a share of sigmoid(w)."""
    part = make("score", "dsir", buckets=10_000, smoothing=0.5).fit(["a b", "c"], [True, False])
    texts = ["a", "c"]
    gap = float(np.subtract(*part.score(texts)))
    rng = np.random.default_rng(0)
    share = np.mean([part.select(texts, 1, rng=rng)[0] == 0 for _ in range(3000)])
    assert 0.5 < 1 / (1 + np.exp(-gap)) < 0.9
    assert share == pytest.approx(1 / (1 + np.exp(-gap)), abs=0.03)


def test_kl_reduction_ranks_selections(fitted):
    texts, marks = planted_texts(1)
    on, off = ([t for t, m in zip(texts, marks, strict=True) if m == wanted] for wanted in (True, False))
    mixed = on[:15] + off[:15]
    assert fitted.kl_reduction(on) > fitted.kl_reduction(mixed) > fitted.kl_reduction(off)
    assert fitted.kl_reduction(on, on) == 0 and fitted.kl_reduction(on, off) == -fitted.kl_reduction(off, on)


@pytest.mark.parametrize(
    ("texts", "marks", "words"),
    [
        (["a", "b"], [True, True], "the pool holds no words"),
        (["a", " "], [True, False], "the pool holds no words"),
        (["a", "b"], [True, False, True], "more marks"),
        (["a", "b"], [True, 2], "true .target. or false"),
        (["a", b"b"], [True, False], "bytes"),
        ("a b", [True, False], "not one text"),
        (["a", "b"], None, "must know the target"),
    ],
)
def test_what_cannot_be_fitted_is_said(texts, marks, words):
    with pytest.raises(DataError, match=words):
        make("score", "dsir").fit(texts, marks)


def test_a_refused_refit_leaves_the_part_as_it_was(fitted):
    texts, marks = planted_texts(0)
    before = fitted.score(texts)
    with pytest.raises(DataError):
        fitted.fit([*texts, 3], [*marks, True])
    with pytest.raises(DataError):
        fitted.observe(["more"], [7])
    assert np.array_equal(fitted.score(texts), before)


def test_lone_surrogates_and_texts_without_words_are_scored(fitted):
    assert fitted.score(["\ud800 sail", "", "   "])[1:].tolist() == [0, 0]
