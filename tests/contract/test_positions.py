"""Every check of scores of positions fails on a part that is wrong in just that way."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tellapart.contract import _positions as contract
from tellapart.core.parts import card_of
from tellapart.parts.score.anovl import Anovl

Plain = functools.partial(Anovl, steps=0)


class FlatMaps(Anovl):
    def maps(self, x):
        return super().maps(x).reshape(len(x), -1)


class DoubleMaps(Anovl):
    def maps(self, x):
        return super().maps(x).astype(np.float64)


class MeanScore(Anovl):
    def score(self, x):
        return self.maps(x).mean(axis=(1, 2))


class TurnedMaps(Anovl):
    def maps(self, x):
        return super().maps(x).transpose(0, 2, 1)


class TakesVectors(Anovl):
    def fit(self, x, y=None):
        return super().fit(x if x.ndim == 4 else x[:, None, None])


class MapsVectors(Anovl):
    def maps(self, x):
        return super().maps(x if x.ndim == 4 else x[:, None, None])


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda c: c.__name__)
def test_a_right_part_passes(check) -> None:
    check(Plain)


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (contract.check_place, FlatMaps),
        (contract.check_place, DoubleMaps),
        (contract.check_place, MeanScore),
        (contract.check_place, TurnedMaps),
        (contract.check_vectors_refused, TakesVectors),
        (contract.check_vectors_refused, MapsVectors),
    ],
    ids=lambda x: x.__name__,
)
def test_a_wrong_part_fails(check, wrong) -> None:
    with pytest.raises(AssertionError):
        check(functools.partial(wrong, steps=0))


def test_checks_of_vectors_are_asked_of_positions_too() -> None:
    from tellapart.contract.score import checks

    found = {check.__name__ for check in checks(card_of("score", "anovl"))}
    assert found >= {check.__name__ for check in contract.CHECKS}
    assert found >= {"check_shape", "check_no_batch_mates", "check_higher_is_more_unknown", "check_bad_input"}
