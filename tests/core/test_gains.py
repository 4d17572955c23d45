"""Hits before and after: exact chances, forgiveness of one in a hundred, duplicates as one."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.gains import found, gain


def test_the_chance_is_that_of_a_sign_test():
    before, after = np.zeros(20), np.array([1.0] * 9 + [0.0] * 11)
    before[19] = 1
    better = gain(before, after, np.arange(20), seed=0)
    # 9 better, of which one is forgiven, against 1 worse: P(at least 8 of 9).
    assert better.value == 0.4 and better.p == pytest.approx(10 / 512)
    assert better.low <= 0.4 <= better.high and better.count == 20
    assert gain(after, before, np.arange(20), seed=0).p > 0.9


def test_nothing_changed_is_no_gain_and_a_gain_too_small_to_matter_is_none():
    same = np.ones(500)
    assert gain(same, same, np.arange(500), seed=0).p == 1
    before = np.r_[np.zeros(5), np.ones(495)]
    assert gain(before, same, np.arange(500), seed=0).p == 1


def test_duplicates_count_once():
    before, after = np.zeros(40), np.r_[np.ones(30), np.zeros(10)]
    apart = gain(before, after, np.arange(40), seed=0)
    copies = gain(before, after, np.r_[np.zeros(30), np.arange(1, 11)], seed=0)
    assert apart.p < 1e-6 and copies.p == 1 and copies.count == 11


def test_ties_stand_in_the_middle():
    scores = np.array([[1.0, 1.0, 0.5], [0.2, 0.9, 0.9]])
    own = np.array([[True, False, False], [True, False, False]])
    assert found(scores, own, 1).tolist() == [1.0, 0.0]
    assert found(np.array([[1.0, 1.0, 1.0]]), own[:1], 1).tolist() == [0.0]
