"""The protocol of link prediction: filtered ranks by sorting in loops, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import links


def test_ranks_are_those_of_sorting_without_other_truths():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 12)).astype(np.float32)
    right, truth = rng.integers(12, size=40), rng.random((40, 12)) < 0.3
    truth[np.arange(40), right] = True
    expected = []
    for i in range(40):
        left = [j for j in range(12) if j == right[i] or not truth[i, j]]
        expected.append(1 + sorted(left, key=lambda j, i=i: -scores[i, j]).index(right[i]))
    assert links.filtered_ranks(scores, right, truth).tolist() == expected


def test_a_collapsed_model_gets_the_middle():
    truth = np.eye(11, dtype=bool)
    assert (links.filtered_ranks(np.full((11, 11), 0.3), np.arange(11), truth) == 6).all()


def test_what_it_does_not_know_is_refused():
    with pytest.raises(PartError, match="no option 'epoch'"):
        links.run({"options": {"epoch": 3}}, "wordnet-relations", 0)
    with pytest.raises(DataError, match="digits"):
        links.run({"options": {}}, "digits", 0)
