"""Scores from comparisons: what is symmetric, what is known, and what comes back of planted scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.thurstone import scores_of


@pytest.mark.parametrize(("link", "share"), [("normal", 0.8413447), ("logistic", 1 / (1 + math.exp(-1)))])
def test_many_comparisons_of_two_give_their_difference(link, share):
    wins = 1e6 * np.array([[0, share], [1 - share, 0]])
    q = scores_of(wins, link=link)
    assert q[0] - q[1] == pytest.approx(1, abs=1e-3) and q.sum() == pytest.approx(0, abs=1e-9)


def test_what_never_lost_has_a_score():
    q = scores_of(np.triu(np.ones((4, 4)), 1))
    assert np.isfinite(q).all() and (np.diff(q) < 0).all()


def test_planted_scores_come_back_from_a_fifth_of_the_comparisons():
    rng = np.random.default_rng(0)
    true = rng.normal(size=30)
    chance = 1 / (1 + np.exp(-1.702 * (true[:, None] - true)))
    asked = np.triu(rng.random((30, 30)) < 0.2, 1)
    won = np.where(asked, rng.binomial(20, chance), 0)
    q = scores_of(won + np.where(asked, 20 - won, 0).T)
    assert np.corrcoef(q, true)[0, 1] > 0.97
    assert np.allclose(scores_of(np.stack([won.T + 1.0, won]))[1], scores_of(won), atol=1e-6)


@pytest.mark.parametrize("wins", [np.ones((2, 3)), -np.ones((2, 2)), np.full((2, 2), np.nan), np.ones(3)])
def test_what_are_no_wins_is_refused(wins):
    with pytest.raises(DataError, match="how often each was preferred"):
        scores_of(wins)
