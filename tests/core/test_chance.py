"""Differences, their intervals, and what is said of many of them, against scipy and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tellapart.core.chance import difference, holm, mean_above, wilson

ALL = ("less", "greater", "two-sided")


def test_too_few_units_are_no_difference():
    inside = np.arange(40) < 8
    assert difference(np.ones(40), inside, np.where(inside, np.arange(40) % 4, np.arange(40)), seed=0) is None


@pytest.mark.parametrize("how", ALL)
def test_p_of_shares_is_fishers(how):
    rng = np.random.default_rng(1)
    v, inside = (rng.random(60) < 0.6).astype(float), rng.random(60) < 0.3
    table = [[sum(v[inside]), sum(1 - v[inside])], [sum(v[~inside]), sum(1 - v[~inside])]]
    found = difference(v, inside, np.arange(60), seed=0, alternative=how)
    if how == "two-sided":
        # Fisher's two-sided p counts tables by their chance, this one by their difference.
        both = sum(difference(v, inside, np.arange(60), seed=0, alternative=h).p for h in ALL[:2])
        assert 0 < found.p <= min(1, both)
    else:
        assert found.p == pytest.approx(stats.fisher_exact(table, how).pvalue)


@pytest.mark.parametrize("how", ALL)
def test_p_of_other_values_is_that_of_a_permutation_test(how):
    rng = np.random.default_rng(2)
    v, inside = rng.normal(size=80), np.arange(80) < 30
    v[inside] += 0.45
    found = difference(v, inside, np.arange(80), seed=0, alternative=how)
    other = stats.permutation_test(
        (v[inside], v[~inside]), lambda a, b: a.mean() - b.mean(), n_resamples=9999, alternative=how, rng=0
    )
    # Twenty draws that reach it tell p to about a fifth of itself, where they are not stopped by the last draw.
    assert found.p == pytest.approx(other.pvalue, rel=0.6)


def test_above_five_thousand_units_p_is_that_of_welch():
    rng = np.random.default_rng(3)
    v, inside = rng.normal(size=6000), np.arange(6000) < 900
    v[inside] -= 0.08
    found = difference(v, inside, np.arange(6000), seed=0, alternative="less")
    assert found.p == pytest.approx(
        stats.ttest_ind(v[inside], v[~inside], equal_var=False, alternative="less").pvalue, rel=0.05
    )


def test_duplicates_count_once_and_parts_have_the_difference_as_their_mean():
    rng = np.random.default_rng(4)
    v, inside = rng.normal(size=50), np.arange(50) < 20
    once = difference(v, inside, np.arange(50), seed=0)
    thrice = difference(np.tile(v, 3), np.tile(inside, 3), np.tile(np.arange(50), 3), seed=0)
    assert (once.p, once.inside) == (thrice.p, 20) and once.value == pytest.approx(thrice.value)
    assert once.parts.mean() == pytest.approx(v[inside].mean() - v[~inside].mean())
    assert np.array_equal(once.unit, np.arange(50))


def test_intervals_cover_and_p_is_uniform_where_nothing_is_different():
    rng = np.random.default_rng(5)
    covered, small = [], []
    for _ in range(400):
        v, inside = (rng.random(200) < 0.85).astype(float), np.arange(200) < 40
        found = difference(v, inside, np.arange(200), seed=0)
        covered.append(found.low <= 0 <= found.high)
        small.append(found.p <= 0.05)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(small) <= 0.07


def test_wilson_and_holm_are_the_known_ones():
    found = stats.binomtest(7, 20).proportion_ci(method="wilson")
    assert wilson(0.35, 20) == pytest.approx((found.low, found.high), abs=1e-4)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


def test_p_of_a_mean_is_that_of_drawn_signs_and_duplicates_count_once():
    rng = np.random.default_rng(6)
    v = rng.normal(size=60) + 0.25
    other = stats.permutation_test(
        (v, -v), lambda a, b: (a - b).mean(), permutation_type="samples", alternative="greater", rng=0
    )
    assert mean_above(v, np.arange(60), seed=0) == pytest.approx(other.pvalue, rel=0.6)
    assert mean_above(np.tile(v, 9), np.tile(np.arange(60), 9), seed=0) == mean_above(v, np.arange(60), seed=0)
    assert mean_above(-np.abs(v), np.arange(60), seed=0) == 1.0
    many = rng.normal(size=6000) + 0.03
    assert mean_above(many, np.arange(6000), seed=0) == pytest.approx(
        stats.ttest_1samp(many, 0, alternative="greater").pvalue, rel=0.1
    )
