"""Folds keep groups whole and are of about one size; towers bring pairs together."""

from __future__ import annotations

import numpy as np

from tellapart.core.crossfit import correlated, folds_of


def test_folds_keep_groups_whole_and_even():
    group = np.random.default_rng(0).integers(0, 90, 400)
    fold = folds_of(group, 4, np.random.default_rng(1))
    assert all(len(set(fold[group == g])) == 1 for g in set(group))
    assert np.bincount(fold).max() <= 1.2 * len(group) / 4
    assert not np.array_equal(fold, folds_of(group, 4, np.random.default_rng(2)))


def test_towers_bring_pairs_together_that_they_have_not_seen():
    rng = np.random.default_rng(0)
    thing = rng.normal(size=(300, 4))
    x, y = thing @ rng.normal(size=(4, 8)) + 5, thing @ rng.normal(size=(4, 6)) - 3
    f, g = correlated(x[:200], y[:200], dim=3, ridge=0.01)
    s = f(x[200:]) @ g(y[200:]).T
    assert f(x).shape == (300, 3) and np.allclose(np.linalg.norm(g(y), axis=1), 1)
    assert np.diag(s).mean() > 0.95 and abs(s.mean()) < 0.2


def test_a_side_that_does_not_vary_is_no_error():
    f, g = correlated(np.ones((20, 3)), np.random.default_rng(0).normal(size=(20, 2)), dim=2, ridge=1.0)
    assert np.isfinite(f(np.ones((4, 3)))).all() and np.isfinite(g(np.ones((4, 2)))).all()
