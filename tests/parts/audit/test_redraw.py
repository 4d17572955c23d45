"""Intervals by drawing groups again: as wide as they should be, and never wider than what can be."""

from __future__ import annotations

import numpy as np

from tellapart.core import redraw
from tellapart.core.linear import crossed, ridge_map


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = (rng.random(80) < 0.3).astype(float)
        low, high = redraw.interval(redraw.mean(values), np.arange(80), seed=trial, draws=300)
        covered += low <= 0.3 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_members_of_one_group_do_not_make_it_surer():
    rng = np.random.default_rng(1)
    once = rng.random(40)
    low, high = redraw.interval(redraw.mean(once), np.arange(40), seed=0)
    many = redraw.interval(redraw.mean(np.repeat(once, 25)), np.repeat(np.arange(40), 25), seed=0)
    assert np.allclose((low, high), many, atol=1e-9)


def test_equal_answers_are_not_certain():
    low, high = redraw.interval(redraw.mean(np.ones(30)), np.arange(30), seed=0)
    assert 0.85 < low < 0.95 and high == 1.0


def test_too_few_groups_have_no_interval():
    assert redraw.interval(redraw.mean(np.arange(100.0)), np.arange(100) % 5, seed=0) == (None, None)


def test_a_figure_that_draws_seldom_give_has_no_interval():
    assert redraw.interval(lambda times: float("nan"), np.arange(50), seed=0) == (None, None)


def test_the_ridge_map_is_the_library_s():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 6)), rng.normal(size=(50, 3))
    centred = x - x.mean(axis=0)
    alpha = 0.7 * np.trace(centred.T @ centred) / 6
    theirs = Ridge(alpha=alpha).fit(x, y).predict(x)
    assert np.allclose(ridge_map(x, y, 0.7)(x), theirs, atol=1e-8)


def test_crossed_answers_come_from_models_that_did_not_see_them():
    rng = np.random.default_rng(3)
    x, codes = rng.normal(size=(60, 200)), rng.integers(0, 2, 60)
    items = np.arange(60).reshape(30, 2)
    right = crossed(x, codes, items, 0.01, np.random.default_rng(0))
    assert right.shape == (30, 2) and 0.3 < right.mean() < 0.7, "noise is remembered by no other fold"
    told = np.eye(2)[codes] @ rng.normal(size=(2, 200))
    assert crossed(told, codes, items, 0.01, np.random.default_rng(0)).all()
