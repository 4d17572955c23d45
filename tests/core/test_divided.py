"""Items divided by losses and by a line through features."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.divided import clean_probability, principal, separated
from tellapart.core.errors import DataError


def _losses(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    wrong = rng.random(600) < 0.3
    return rng.normal(np.where(wrong, 4.0, 1.0), np.where(wrong, 0.7, 0.3)), wrong


def test_two_normal_distributions_are_told_apart_as_the_library_does_it() -> None:
    from sklearn.mixture import GaussianMixture

    losses, wrong = _losses(np.random.default_rng(0))
    found = clean_probability(losses)
    assert ((found < 0.5) == wrong).mean() > 0.99
    x = (losses - losses.min()) / (losses.max() - losses.min())
    mixture = GaussianMixture(2, tol=1e-7, max_iter=500, reg_covar=5e-4, random_state=0).fit(x[:, None])
    expected = mixture.predict_proba(x[:, None])[:, mixture.means_[:, 0].argmin()]
    low, high = np.sort(mixture.means_[:, 0])
    between = (x > low) & (x < high)
    assert np.abs(found - expected)[between].max() < 1e-3
    assert np.abs(found - expected).max() < 0.02


def test_order_unit_and_offset_of_the_losses_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    losses, _ = _losses(rng)
    found, order = clean_probability(losses), rng.permutation(len(losses))
    np.testing.assert_allclose(clean_probability(7 + 3 * losses), found, atol=1e-6)
    np.testing.assert_allclose(clean_probability(losses[order]), found[order], atol=1e-9)


def test_a_larger_loss_is_never_cleaner() -> None:
    """Cross-entropy is skewed: a wide upper component has more density than a narrow lower one at both of its ends."""
    rng = np.random.default_rng(2)
    losses = np.concatenate([rng.gamma(1.0, 0.1, 700), rng.uniform(0, 6, 300), [0.0, 9.0]])
    found = clean_probability(losses)
    assert (np.diff(found[np.argsort(losses)]) <= 1e-12).all()
    assert 0.05 < (found < 0.5).mean() < 0.6


def test_equal_losses_are_all_clean() -> None:
    np.testing.assert_array_equal(clean_probability(np.full(5, 2.0)), np.ones(5))


@pytest.mark.parametrize("losses", [np.empty(0), np.zeros((3, 2)), np.array([0.0, np.nan])])
def test_what_is_no_number_for_each_item_is_refused(losses: np.ndarray) -> None:
    with pytest.raises(DataError, match="one finite number"):
        clean_probability(losses)


def test_the_line_is_that_of_the_library_fitted_on_the_other_folds() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    clean, fold = rng.random(120) < 0.8, np.arange(120) % 3
    x = rng.normal(size=(120, 4)) + clean[:, None]
    found = separated(x, clean, fold)
    for f in range(3):
        line = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=5000).fit(x[fold != f], clean[fold != f])
        np.testing.assert_allclose(found[fold == f], line.predict_proba(x[fold == f])[:, 1], atol=1e-5)
    np.testing.assert_array_equal(separated(x, np.ones(120, bool), fold), np.ones(120))


def test_principal_directions_are_as_many_as_there_are_and_of_variance_one() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(90, 3)) @ rng.normal(size=(3, 8)) + 5 * rng.normal(size=8)
    z = principal(np.concatenate([x, np.full((90, 1), 3.0)], axis=1), 2)
    np.testing.assert_allclose(z.T @ z / 90, np.eye(2), atol=1e-9)
    assert principal(rng.normal(size=(20, 50)), 64).shape[1] <= 19
    with pytest.raises(DataError, match="all items are equal"):
        principal(np.ones((4, 3)), 2)
