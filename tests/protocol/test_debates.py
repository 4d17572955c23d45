"""Dawid-Skene by loops, curves by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.protocol import debates


def test_dawid_skene_is_that_of_loops_and_beats_the_majority_where_one_annotator_confuses():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 60)
    votes = np.column_stack([
        np.where(rng.random(60) < 0.9, right, rng.integers(0, 3, 60)),
        np.where(rng.random(60) < 0.6, right, rng.integers(0, 3, 60)),
        (right + 1) % 3,
    ])  # fmt: skip
    of = [[sum(v == c for v in row) / 3 for c in range(3)] for row in votes]
    for _ in range(debates.ROUNDS):
        prior = [sum(row[c] for row in of) / 60 for c in range(3)]
        said = {}
        for a, c in itertools.product(range(3), range(3)):
            counts = [sum(t[c] for t, one in zip(of, votes, strict=True) if one[a] == v) + 0.01 for v in range(3)]
            said[a, c] = [count / sum(counts) for count in counts]
        made = []
        for row in votes:
            chance = [prior[c] * math.prod(said[a, c][row[a]] for a in range(3)) for c in range(3)]
            made.append([value / sum(chance) for value in chance])
        of = made
    label, sure = debates.dawid_skene(votes, 3)
    assert np.allclose(sure, [max(row) for row in of], atol=1e-6)
    assert label.tolist() == [row.index(max(row)) for row in of]
    assert (label == right).mean() > (debates.majority(votes, 3)[0] == right).mean()


def test_the_majority_falls_to_the_first_of_equal_ones():
    label, share = debates.majority(np.array([[2, 1, 1], [2, 1, 0]]), 3)
    assert label.tolist() == [1, 2] and share.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_curves_take_the_mean_of_the_equally_sure():
    right = np.array([1, 0, 1, 0, 1, 1, 1, 1, 0, 0], bool)
    found = debates.figures(right, np.array([0.9, 0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]))
    so_far = [0.5, 0.5, 0.5, 0.5, 3 / 5, 4 / 6, 5 / 7, 6 / 8, 6 / 9, 6 / 10]
    assert found["accuracy"] == 0.6 and found["accuracy, surest half"] == pytest.approx(3 / 5)
    assert found["curve"] == pytest.approx(math.fsum(so_far) / 10)


def test_what_it_does_not_know_is_said():
    with pytest.raises(DataError, match="with majority"):
        debates.run({"part": "debated-labels", "baseline": "other", "options": {}}, "fashion", 0)
    with pytest.raises(DataError, match="not on 'digits'"):
        debates.tagged("digits")
