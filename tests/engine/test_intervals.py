from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.engine import intervals


def coverage(make, runs, level=0.95):
    """Share of simulated data sets whose interval holds the true mean; `make(rng)` gives (values, clusters, truth)."""
    held = 0
    for run in range(runs):
        values, clusters, truth = make(np.random.default_rng([91, run]))
        low, high = intervals.bootstrap(values, clusters=clusters, seed=run, draws=1000, level=level)
        held += low <= truth <= high
    return held / runs


def shares(rng):
    return rng.random(200) < 0.3, None, 0.3


def ranks(rng):
    return rng.exponential(2.0, 150), None, 2.0


def concepts(rng):
    concept = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    return rng.normal(1, 1, 60)[concept] + rng.normal(0, 0.5, len(concept)), concept, 1.0


def five_seeds(rng):
    return rng.normal(0.4, 0.1, (5, 1)), None, 0.4


def seeds_and_queries(rng):
    return rng.normal(0, 0.3, (5, 1)) + rng.normal(0, 2, 100) + rng.normal(0, 1, (5, 100)), None, 0.0


def seeds_that_hardly_matter(rng):
    return rng.normal(0, 2, 100) + rng.normal(0, 0.2, (5, 100)), None, 0.0


CASES = [shares, ranks, concepts, five_seeds, seeds_and_queries, seeds_that_hardly_matter]


@pytest.mark.parametrize("make", CASES)
def test_coverage_quick(make):
    assert 0.90 <= coverage(make, 300) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("make", CASES)
def test_coverage(make):
    assert 0.93 <= coverage(make, 4000) <= 0.97


def test_clusters_widen_the_interval_when_their_members_agree():
    rng = np.random.default_rng(0)
    concept = np.repeat(np.arange(20), 30)
    values = rng.normal(0, 1, 20)[concept]
    low, high = intervals.bootstrap(values)
    wide_low, wide_high = intervals.bootstrap(values, clusters=concept)
    assert wide_high - wide_low > 4 * (high - low)


def test_pairing_finds_what_single_intervals_hide():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 400)
    a, b = hard + rng.normal(0, 0.05, 400), hard + 0.03 + rng.normal(0, 0.05, 400)
    difference, low, high = intervals.paired(a, b)
    assert difference == pytest.approx(np.mean(b - a))
    assert intervals.verdict(low, high) == "helps"
    assert intervals.bootstrap(a)[1] > intervals.bootstrap(b)[0]


def test_verdicts_in_words():
    assert intervals.verdict(0.1, 0.2) == "helps"
    assert intervals.verdict(-0.2, -0.1) == "hurts"
    assert intervals.verdict(0.1, 0.2, higher_is_better=False) == "hurts"
    assert intervals.verdict(-0.2, -0.1, higher_is_better=False) == "helps"
    assert intervals.verdict(-0.1, 0.1) == intervals.verdict(0, 0) == "no difference shown"
    assert intervals.verdict(math.nan, math.nan) == "no difference shown"


def test_same_seed_same_interval_and_another_nearly():
    values = np.random.default_rng(0).random(50)
    assert intervals.bootstrap(values, seed=3) == intervals.bootstrap(values, seed=3)
    assert intervals.bootstrap(values, seed=3) != intervals.bootstrap(values, seed=4)
    np.testing.assert_allclose(intervals.bootstrap(values, seed=3), intervals.bootstrap(values, seed=4), atol=0.02)


def test_students_t_against_scipy():
    from scipy.stats import t

    for freedom in (1, 2, 4, 4.7, 30, 1000):
        for share in (0.5, 0.8, 0.975, 0.9995):
            assert intervals._t_quantile(share, freedom) == pytest.approx(t.ppf(share, freedom), rel=2e-3, abs=1e-9)
            x = t.ppf(share, freedom)
            assert intervals._t_probability(x, freedom) == pytest.approx(share, abs=1e-5)


def test_holm_keeps_the_rate_of_false_verdicts():
    one, corrected, runs = 0, 0, 200
    for run in range(runs):
        rng = np.random.default_rng([7, run])
        base = rng.normal(0, 1, 40)
        variants = {str(i): base + rng.normal(0, 1, 40) for i in range(10)}
        judged = intervals.holm(base, variants, draws=1000, seed=run)
        corrected += any(d.verdict != "no difference shown" for d in judged.values())
        plain = [intervals.verdict(*intervals.paired(base, v, draws=500)[1:]) for v in variants.values()]
        one += any(v != "no difference shown" for v in plain)
    assert corrected / runs < 0.11
    assert one / runs > 0.25


def test_holm_keeps_names_levels_and_real_effects():
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1, 200)
    variants = {"none": base + rng.normal(0, 1, 200), "good": base + 0.3 + rng.normal(0, 1, 200), "bad": base - 0.5}
    judged = intervals.holm(base, variants)
    assert list(judged) == ["none", "good", "bad"]
    assert [judged[n].verdict for n in judged] == ["no difference shown", "helps", "hurts"]
    assert judged["none"].level == pytest.approx(0.95)
    assert judged["bad"].level == pytest.approx(1 - 0.05 / 3)
    assert judged["good"].p < judged["none"].p


def test_holm_stops_at_the_first_that_does_not_stand():
    rng = np.random.default_rng(5)
    z = rng.normal(0, 1, 60)
    z = (z - z.mean()) / z.std()
    variants = {name: z + shift for name, shift in (("a", 0.28), ("b", 0.275))}
    judged = intervals.holm(np.zeros(60), variants)
    assert judged["b"].low > 0 or judged["b"].verdict == "no difference shown"
    assert judged["a"].verdict == judged["b"].verdict == "no difference shown"


def test_missing_queries_do_not_count():
    values = np.asarray([1.0, 2.0, np.nan, 3.0])
    assert intervals.bootstrap(values) == intervals.bootstrap(values[[0, 1, 3]])
    assert intervals.paired(values, values + 1)[0] == 1


def test_one_unit_has_no_interval():
    assert all(math.isnan(v) for v in intervals.bootstrap([1.0]))
    assert all(math.isnan(v) for v in intervals.bootstrap([]))
    assert all(math.isnan(v) for v in intervals.bootstrap([1.0, 2.0], clusters=np.asarray([3, 3])))


def test_equal_values_give_a_point():
    assert intervals.bootstrap(np.full(30, 0.25)) == (0.25, 0.25)
    assert intervals.paired(np.zeros((5, 9)), np.zeros((5, 9))) == (0, 0, 0)


def test_the_interval_of_a_share_stays_a_share():
    hits = np.r_[np.ones(1), np.zeros(35)]
    assert intervals.bootstrap(hits)[0] < 0 and intervals.bootstrap(1 - hits)[1] > 1
    low, high = intervals.bootstrap(hits, within=intervals.SHARE)
    assert (low, high) == (0, intervals.bootstrap(hits)[1])
    assert intervals.bootstrap(1 - hits, within=intervals.SHARE)[1] == 1
    assert np.isnan(intervals.bootstrap(hits[:1], within=intervals.SHARE)).all()


def test_bad_input_is_refused_in_words():
    with pytest.raises(DataError, match="same queries"):
        intervals.paired([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="infinite"):
        intervals.bootstrap([1.0, math.inf])
    with pytest.raises(DataError, match="cluster names"):
        intervals.bootstrap([1.0, 2.0], clusters=np.asarray([1]))
    with pytest.raises(DataError, match="shape"):
        intervals.bootstrap(np.zeros((2, 2, 2)))


def test_many_queries_are_drawn_in_chunks():
    low, high = intervals.bootstrap(np.random.default_rng(0).random(50_000), draws=200)
    assert low < 0.5 < high and high - low < 0.01
