"""Borda points, rank correlations, tasks that others make needless, pooled corpora."""

import numpy as np
import pytest

from tellapart.core import leaderboard as board


def test_borda_counts_who_is_below_and_half_of_who_ties():
    scores = np.array([[3.0, 1.0], [2.0, 1.0], [1.0, np.nan]])
    assert board.borda(scores).tolist() == [2 + 0.5, 1 + 0.5, 0]


def test_correlations_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.integers(0, 5, (2, 9))
        if len(set(a)) > 1 and len(set(b)) > 1:
            assert board.spearman(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
            assert board.kendall(a, b) == pytest.approx(stats.kendalltau(a, b)[0])
            assert board.places(a).tolist() == stats.rankdata(-a).tolist()
    assert board.spearman(np.ones(4), np.arange(4)) == board.kendall(np.ones(4), np.arange(4)) == 0


def test_scores_are_foretold_by_a_ridge_that_has_not_seen_the_model():
    linear = pytest.importorskip("sklearn.linear_model")
    scores = np.random.default_rng(1).normal(size=(7, 4))
    for m in range(7):
        rest = [i for i in range(7) if i != m]
        x, y = scores[rest][:, 1:], scores[rest, 0]
        z = (x - x.mean(0)) / x.std(0)
        # The penalty is 1 where the mean over models and tasks is fitted, so models times tasks where the sum is.
        fit = linear.Ridge(alpha=1.0 * 3 / 6).fit(z, y)
        assert board.foretold(scores, 0)[m] == pytest.approx(
            fit.predict(((scores[m, 1:] - x.mean(0)) / x.std(0))[None])[0]
        )


def test_twins_of_a_task_go_and_what_only_one_task_asks_stays():
    rng = np.random.default_rng(2)
    one, other, alone = rng.normal(size=(3, 12))
    tasks = [one, one + 0.01 * rng.normal(size=12), 2 * one, other, other + 0.01 * rng.normal(size=12), alone]
    left, went = board.shrink(np.stack(tasks, axis=1), ["a"] * 6, least=3)
    assert len(left) == 3
    assert len({0, 1, 2} & set(left)) == 1
    assert len({3, 4} & set(left)) == 1
    assert 5 in left
    assert all(d.agreement > 0.8 for d in went)


def test_the_last_task_of_a_kind_stays_and_nothing_goes_that_is_not_foretold():
    rng = np.random.default_rng(3)
    one = rng.normal(size=10)
    scores = np.stack([one, 1.1 * one, one + 0.001 * rng.normal(size=10), rng.normal(size=10)], axis=1)
    left, _ = board.shrink(scores, ["a", "a", "b", "b"], least=1)
    assert {0, 1} & set(left)
    assert {2, 3} & set(left)
    assert board.shrink(rng.normal(size=(10, 5)), ["a"] * 5, least=1, safe=0.999)[0] == [0, 1, 2, 3, 4]


def test_a_pooled_corpus_has_all_answers_then_what_comes_first():
    found = [np.array([[5, 6, 7], [5, 8, 9]]), np.array([[4, 6, 1], [5, 2, 3]])]
    assert board.pooled(found, [[0], [9]], 4).tolist() == [0, 4, 5, 9]
    assert board.pooled(found, [[0], [9]], 5).tolist() == [0, 4, 5, 6, 9]
    assert board.pooled(found, [[0, 1, 2], [9]], 2).tolist() == [0, 1, 2, 9]
    assert board.pooled([], [[3]], 9).tolist() == [3]
