from __future__ import annotations

import json

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.engine.calibrate import Calibration, calibration_error, fit, threshold


def world(n, seed):
    """Cosines with a known probability of a match: 1 / (1 + exp(-(12 s - 5)))."""
    rng = np.random.default_rng(seed)
    s = rng.uniform(0, 1, n)
    p = 1 / (1 + np.exp(-(12 * s - 5)))
    return s, rng.random(n) < p, p


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_finds_the_true_probability_on_other_pairs(method):
    curve = fit(*world(4000, 0)[:2], method=method)
    s, matches, p = world(4000, 1)
    found = curve.probability(s)
    assert np.abs(found - p).mean() < 0.03
    assert calibration_error(found, matches) < 0.03 < calibration_error(s, matches)
    assert (np.diff(curve.probability(np.linspace(-1, 1, 50))) >= 0).all()


def test_platt_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    s, matches, _ = world(3000, 2)
    curve = fit(s, matches)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(s[:, None], matches)
    np.testing.assert_allclose(curve.x, [theirs.coef_[0, 0], theirs.intercept_[0]], rtol=0.01)


def test_separable_and_constant_scores_stay_finite():
    curve = fit(np.asarray([0.1, 0.2, 0.8, 0.9]), np.asarray([False, False, True, True]))
    assert np.isfinite(curve.x).all()
    p = curve.probability(np.asarray([-1, 0.1, 0.5, 0.9, 1]))
    assert p[1] < 0.35 and p[3] > 0.65 and p[2] == pytest.approx(0.5, abs=0.05)
    flat = fit(np.full(10, 0.4), np.arange(10) < 3)
    assert flat.probability(np.asarray([0.4]))[0] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_goes_through_json(method):
    curve = fit(*world(300, 3)[:2], method=method)
    back = Calibration.from_dict(json.loads(json.dumps(curve.to_dict())))
    assert back == curve
    s = np.asarray([[-np.inf, 0.2], [0.7, 1.5]])
    np.testing.assert_array_equal(back.probability(s), curve.probability(s))
    assert back.probability(s)[0, 0] == 0


def test_threshold_for_a_precision_and_for_a_recall():
    s = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    matches = np.asarray([True, True, False, True, False, False])
    found = threshold(s, matches, precision=0.75)
    assert (found.value, found.precision, found.recall, found.reached) == (0.6, 0.75, 1.0, True)
    assert threshold(s, matches, precision=1.0).value == 0.8
    assert threshold(s, matches, recall=0.6).value == 0.8
    assert threshold(s, matches, recall=1.0).value == 0.6
    best = threshold(s, np.asarray([False, True, False, True, False, False]), precision=0.9)
    assert not best.reached and (best.value, best.precision) == (0.6, 0.5)
    assert json.loads(json.dumps(best.to_dict()))["reached"] is False


def test_threshold_by_trying_every_score():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        s = rng.random(60).round(2)
        matches = rng.random(60) < s
        for wanted in (0.5, 0.8, 0.95):
            tried = []
            for t in sorted(set(s.tolist())):
                answered = s >= t
                tried.append((t, matches[answered].mean(), (matches & answered).sum() / matches.sum()))
            enough = [t for t, precision, _ in tried if precision >= wanted]
            found = threshold(s, matches, precision=wanted)
            assert found.reached == bool(enough)
            assert not enough or found.value == min(enough)
            assert threshold(s, matches, recall=wanted).value == max(t for t, _, recall in tried if recall >= wanted)


def test_precision_holds_on_other_pairs():
    s, matches, _ = world(20_000, 4)
    chosen = threshold(s, matches, precision=0.9)
    other, truth, _ = world(20_000, 5)
    assert truth[other >= chosen.value].mean() == pytest.approx(0.9, abs=0.01)


def test_bad_input_is_refused_in_words():
    s, matches, _ = world(30, 6)
    with pytest.raises(DataError, match="one kind is missing"):
        fit(s, np.ones(30, bool))
    with pytest.raises(DataError, match="finite"):
        fit(np.where(s < 0.5, np.nan, s), matches)
    with pytest.raises(DataError, match="do not fit"):
        fit(s, matches[:3])
    with pytest.raises(DataError, match="platt or isotonic"):
        fit(s, matches, method="beta")
    with pytest.raises(DataError, match="precision or for a recall"):
        threshold(s, matches)
    with pytest.raises(DataError, match="no share"):
        threshold(s, matches, recall=1.2)
    with pytest.raises(DataError, match="no calibration"):
        Calibration.from_dict({"method": "platt", "x": [1.0], "y": [], "count": 3, "matches": 1})
    with pytest.raises(DataError, match="no calibration"):
        Calibration.from_dict({"method": "platt"})
    with pytest.raises(DataError, match="not a number"):
        fit(s, matches).probability(np.asarray([np.nan]))
