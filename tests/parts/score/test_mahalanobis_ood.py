"""Layers and their weights, directions without variance, classes that arrive."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.contract.classify import planted
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make


def test_without_shrinkage_a_direction_without_variance_goes_unseen():
    x, y = planted(0)
    flat = np.hstack([x, np.zeros((len(x), 1))])
    odd = flat[:5] + np.array([0] * 8 + [9.0])
    blind, seeing = (make("score", "mahalanobis-ood", shrinkage=s).fit(flat, y) for s in (0.0, 0.01))
    assert np.allclose(blind.score(odd), blind.score(flat[:5]), atol=1e-3)
    assert (seeing.score(odd) > seeing.score(flat[:5]) + 10).all()


def test_validation_data_weigh_the_layer_that_tells():
    rng = np.random.default_rng(1)
    x, y = planted(1, each=60)
    noise = rng.normal(size=(len(x), 8)).astype(np.float32)
    known, _ = planted(2)
    far = known + rng.normal(size=known.shape).astype(np.float32) * 3
    dull = [rng.normal(size=known.shape) for _ in range(2)]
    part = make("score", "mahalanobis-ood").fit([noise, x], y, validation=([dull[0], known], [dull[1], far]))
    assert part.layer_weights_[1] > 3 * abs(part.layer_weights_[0])
    assert part.score([dull[1], far]).mean() > part.score([dull[0], known]).mean()


def test_the_gradient_leads_to_the_nearest_mean():
    x, y = planted(3)
    part = make("score", "mahalanobis-ood").fit(x, y)
    (gradient,) = part.gradient(x)
    assert (part.score(x - 1e-3 * gradient) < part.score(x)).all()


def test_adding_a_class_is_fitting_with_it_and_a_refusal_changes_nothing():
    x, y = planted(4, classes=4)
    late = y == "class 3"
    part = make("score", "mahalanobis-ood").fit(x[~late], y[~late])
    before = part.score(x)
    for wrong, label in ((x[:, :3], "new"), (x[late] * np.nan, "new"), (x[late], 7)):
        with pytest.raises(DataError):
            part.add_class(wrong, label)
    assert np.array_equal(part.score(x), before)
    whole = make("score", "mahalanobis-ood").fit(x, y)
    assert np.allclose(part.add_class(x[late], "class 3").score(x), whole.score(x), rtol=1e-4)
    assert np.array_equal(part.predict(x), whole.predict(x))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([np.eye(4), np.eye(3)], [0, 1, 0, 1], "unequal numbers"),
        (np.eye(4), [0, 1, 2, 3], "items that differ"),
        (np.eye(4), None, "needs labels"),
    ],
)
def test_what_cannot_be_fitted_is_said(x, y, words):
    with pytest.raises(DataError, match=words):
        make("score", "mahalanobis-ood").fit(x, y)


def test_knn_needs_k_items_and_a_bound_on_k():
    with pytest.raises(DataError, match="5-th nearest of 3"):
        make("score", "knn").fit(np.eye(3))
    with pytest.raises(PartError, match="k=0"):
        make("score", "knn(k=0)")


def test_max_softmax_takes_any_classifier_and_says_which_there_are():
    x, y = planted(5)
    assert make("score", "max-softmax(classifier='clip-gda(alpha=0.1)')").fit(x, y).score(x).max() < 1
    with pytest.raises(PartError, match="did you mean nearest-mean"):
        make("score", "max-softmax(classifier='nearest-meen')").fit(x, y)
