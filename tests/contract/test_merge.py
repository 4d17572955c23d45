"""Every check of the merge contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tellapart.contract import merge as contract
from tellapart.core.errors import DataError
from tellapart.core.parts import card_of, make
from tellapart.parts.merge.model_soups import model_soups
from tellapart.parts.merge.uniform_soup import uniform_soup

GREEDY = card_of("merge", "model-soups")


def doubles(states, evaluate, recompute=None, starts=None):
    soup, kept = model_soups(states, evaluate, recompute, starts)
    return {n: v.astype(np.float64) for n, v in soup.items()}, kept


def keeps_twice(states, evaluate, recompute=None, starts=None):
    soup, kept = model_soups(states, evaluate, recompute, starts)
    return soup, kept + kept


def sums(states, evaluate, recompute=None, starts=None):
    soup, kept = model_soups(states, evaluate, recompute, starts)
    return {n: v if v.dtype.kind == "i" else v * np.float32(1.01) for n, v in soup.items()}, kept


def takes_the_first(states, evaluate, recompute=None, starts=None):
    model_soups(states, evaluate, recompute, starts)
    return {n: v.copy() for n, v in states[0].items()}, [0]


def gives_views(states, evaluate, recompute=None, starts=None):
    model_soups(states, evaluate, recompute, starts)
    return dict(states[0]), [0]


def averages_statistics(states, evaluate, recompute=None, starts=None):
    return model_soups(states, evaluate, lambda state: state, starts)


def ignores_starts(states, evaluate, recompute=None, starts=None):
    return model_soups(states, evaluate, recompute)


def mends_holes(states, evaluate, recompute=None, starts=None):
    filled = [{n: np.nan_to_num(v) for n, v in s.items()} for s in states]
    return model_soups(filled, evaluate, recompute, starts)


def takes_any_score(states, evaluate, recompute=None, starts=None):
    return model_soups(states, lambda s: float(np.nan_to_num(evaluate(s))), recompute, starts)


WRONG = [
    ("check_shape", doubles),
    ("check_shape", keeps_twice),
    ("check_mean_of_kept", sums),
    ("check_one_model", sums),
    ("check_order", takes_the_first),
    ("check_not_worse", uniform_soup),
    ("check_input_unchanged", gives_views),
    ("check_statistics", averages_statistics),
    ("check_bad_input", ignores_starts),
    ("check_bad_input", mends_holes),
    ("check_bad_score", takes_any_score),
]


@pytest.mark.parametrize(("check", "wrong"), WRONG, ids=[f"{c}-{w.__name__}" for c, w in WRONG])
def test_a_wrong_part_is_found(check, wrong):
    by_name = {c.__name__: c for c in contract.checks(GREEDY)}
    with pytest.raises(AssertionError):
        by_name[check](lambda **options: functools.partial(wrong, **options))


def test_every_check_has_a_wrong_part():
    assert {c.__name__ for c in contract.checks(GREEDY)} == {check for check, _ in WRONG}


def test_the_message_says_what_to_do():
    states = contract.with_statistics(0)
    with pytest.raises(DataError, match="give `recompute`"):
        make("merge", "model-soups")(states, contract.Score(0))
    with pytest.raises(DataError, match="fine-tune all of them from one saved model"):
        make("merge", "model-soups")(contract.models(0), contract.Score(0), None, list("aaabb"))
