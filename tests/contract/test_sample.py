"""Seeded wrong samplers show that each check of the contract can fail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tellapart.contract import sample as contract
from tellapart.core.parts import card_of
from tellapart.core.plan import SampleKeys, cut, generator


def _right(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    return cut(generator(seed, epoch).permutation(len(keys)), batch_size)


def _unseeded(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    return cut(np.random.default_rng().permutation(len(keys)), batch_size)


def _frozen(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    return cut(np.arange(len(keys)), batch_size)


def _shrinking(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    return _right(keys, seed=seed, epoch=epoch, batch_size=batch_size)[epoch % 2 :]


def _doubling(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    rows = [r.copy() for r in _right(keys, seed=seed, epoch=epoch, batch_size=batch_size)]
    for r in rows:
        r[0] = r[-1]
    return rows


def _repeating(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    rng = generator(seed, epoch)
    return [rng.permutation(len(keys))[:batch_size] for _ in range(max(1, len(keys) // batch_size))]


def _partial(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    whole = len(keys) // batch_size * batch_size
    return cut(generator(seed, epoch).permutation(whole or len(keys)), batch_size)


def _empty_when_small(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    order = generator(seed, epoch).permutation(len(keys))
    return list(itertools.islice(cut(order, batch_size), len(keys) // batch_size))


def _by_frozen_features(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
    return cut(np.argsort(keys.extra["topic_vectors"].argmax(1), kind="stable"), batch_size)


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (contract.check_same_seed_same_plan, _unseeded),
        (contract.check_epochs_and_seeds_differ, _frozen),
        (contract.check_length_is_known, _shrinking),
        (contract.check_no_row_twice_in_a_batch, _doubling),
        (contract.check_no_row_twice_in_an_epoch, _repeating),
        (contract.check_every_row_has_its_turn, _partial),
        (contract.check_small_collections, _empty_when_small),
        (contract.check_disjoint, _right),
        (contract.check_topics, _right),
        (contract.check_looks_at_the_vectors, _right),
        (contract.check_looks_at_the_vectors, _by_frozen_features),
        (contract.check_missing_vectors_are_said, _right),
        (contract.check_spoilt_vectors_are_said, _right),
    ],
)
def test_each_check_can_fail(check, wrong) -> None:
    with pytest.raises(AssertionError):
        check(lambda: wrong)


def test_a_right_sampler_passes() -> None:
    for check in contract.checks(card_of("sample", "shuffle")):
        check(lambda: _right)
