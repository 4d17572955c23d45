"""Every check of the contract of `condense` fails on a part that is wrong in just that way."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from tellapart.contract import condense as contract
from tellapart.parts.condense.coverage import coverage


def too_many(x, y, count, *, seed=0):
    return coverage(x, y, count + 5)


def light(x, y, count, *, seed=0):
    found = coverage(x, y, count)
    return replace(found, weight=found.weight / 2)


def other_rows(x, y, count, *, seed=0):
    found = coverage(x, y, count)
    return replace(found, rows=found.rows[::-1])


def shuffled(x, y, count, *, seed=0):
    found = coverage(x, y, count)
    return replace(found, y=np.roll(found.y, 5))


_calls = iter(range(1000))


def another_seed(x, y, count, *, seed=0):
    found = coverage(x, y, count)
    return replace(found, x=found.x + next(_calls))


def draws_globally(x, y, count, *, seed=0):
    np.random.rand()
    return coverage(x, y, count)


def takes_all(x, y, count, *, seed=0):
    return coverage(np.nan_to_num(x), y, count)


def made_up(x, y, count, *, seed=0):
    return replace(coverage(x, y, count), rows=None)


called_made = made_up


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        ("shape", too_many), ("shape", light), ("rows", other_rows), ("useful", shuffled), ("seed", another_seed),
        ("seed", draws_globally), ("bad_input", takes_all), ("rows", made_up), ("made", called_made),
    ],
)  # fmt: skip
def test_the_check_fails(check, wrong):
    held = getattr(contract, f"check_{check}")
    if check != "made":
        held(lambda **options: functools.partial(coverage, **options))
    with pytest.raises(AssertionError):
        held(lambda **options: functools.partial(wrong, **options))
