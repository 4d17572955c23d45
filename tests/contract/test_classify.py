"""Every check of the classifier contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.contract import classify as contract
from tellapart.core.features import matrix
from tellapart.core.parts import card_of
from tellapart.parts.classify.nearest_mean import NearestMean

CARD = card_of("classify", "nearest-mean")


class NotSummed(NearestMean):
    def predict_proba(self, x):
        return super().predict_proba(x) * 1.01


class Guesses(NearestMean):
    def predict_proba(self, x):
        return np.roll(super().predict_proba(x), 1, axis=1)


class Contradicts(NearestMean):
    def predict(self, x):
        return self.classes_[self.predict_proba(x).argmin(axis=1)]


class CentresTheBatch(NearestMean):
    def predict_proba(self, x):
        x = np.asarray(x)
        return super().predict_proba(x - 0.5 * x.mean(axis=0))


class Remembers(NearestMean):
    fits = 0

    def fit(self, x, y):
        self.fits += 1
        return super().fit(x, y)

    def logits(self, x):
        return super().logits(x) + 0.1 * self.fits * np.arange(len(self.classes_))


class Drifts(NearestMean):
    fits = 0

    def logits(self, x):
        return super().logits(x) + Drifts.fits * np.arange(len(self.classes_))

    def fit(self, x, y):
        Drifts.fits += 1
        return super().fit(x, y)


class OrderMatters(NearestMean):
    def fit(self, x, y):
        return super().fit(x[: len(x) // 2], y[: len(y) // 2])


class TurnsLabelsIntoWords(NearestMean):
    def fit(self, x, y):
        return super().fit(x, [str(v) for v in y])


class KeepsThreeClasses(NearestMean):
    def fit(self, x, y):
        kept = np.isin(y, np.unique(y)[:3])
        return super().fit(np.asarray(x)[kept], np.asarray(y)[kept])


class ForgetsInObserving(NearestMean):
    def observe(self, x, y):
        return self.fit(np.concatenate([x, -np.asarray(x)]), np.concatenate([y, np.repeat("other", len(y))]))


class WritesItsInput(NearestMean):
    def fit(self, x, y):
        x -= x.mean(axis=0)
        return super().fit(x, y)


class TakesHoles(NearestMean):
    def fit(self, x, y):
        return super().fit(np.nan_to_num(x), y)


class CrashesOnOtherWidth(NearestMean):
    def predict_proba(self, x):
        if np.shape(x)[1] != self.means_.shape[1]:
            raise ValueError("shapes do not match")
        return super().predict_proba(x)


class TakesUnlabelled(NearestMean):
    """Items without a label go to the nearest mean, which then moves to the middle of those it got."""

    def fit(self, x, y, *, unlabelled=None):
        super().fit(x, y)
        if unlabelled is not None:
            u = matrix(unlabelled, dim=self.means_.shape[1], what="unlabelled")
            for _ in range(5):
                said = self.predict(u)
                super().fit(u, said)
        return self


class LeavesThemOut(TakesUnlabelled):
    def fit(self, x, y, *, unlabelled=None):
        return super().fit(x, y)


class LooksAtTheirOrder(TakesUnlabelled):
    def fit(self, x, y, *, unlabelled=None):
        some = None if unlabelled is None else np.concatenate([unlabelled, np.repeat(unlabelled[:1], 20, axis=0)])
        return super().fit(x, y, unlabelled=some)


class WritesThem(TakesUnlabelled):
    def fit(self, x, y, *, unlabelled=None):
        super().fit(x, y, unlabelled=unlabelled)
        if unlabelled is not None:
            unlabelled *= 2
        return self


class TakesTheirHoles(TakesUnlabelled):
    def fit(self, x, y, *, unlabelled=None):
        return super().fit(x, y, unlabelled=None if unlabelled is None else np.nan_to_num(unlabelled))


WRONG = [
    (contract.check_probabilities, NotSummed),
    (contract.check_learns, Guesses),
    (contract.check_predict_is_likeliest, Contradicts),
    (contract.check_no_batch_mates, CentresTheBatch),
    (contract.check_refit_forgets, Remembers),
    (contract.check_repeatable, Drifts),
    (contract.check_repeatable, OrderMatters),
    (contract.check_numbers_as_labels, TurnsLabelsIntoWords),
    (contract.check_class_added, KeepsThreeClasses),
    (contract.check_observe_is_fit, ForgetsInObserving),
    (contract.check_input_unchanged, WritesItsInput),
    (contract.check_bad_input, TakesHoles),
    (contract.check_bad_input, CrashesOnOtherWidth),
]


@pytest.mark.parametrize(("check", "wrong"), WRONG, ids=lambda v: v.__name__)
def test_a_wrong_part_fails(check, wrong):
    with pytest.raises(AssertionError):
        check(lambda **options: wrong(**options))


@pytest.mark.parametrize(("check", "wrong"), WRONG, ids=lambda v: v.__name__)
def test_the_part_that_the_wrong_ones_come_from_passes(check, wrong):
    check(lambda **options: NearestMean(**options))


@pytest.mark.parametrize("wrong", [LeavesThemOut, LooksAtTheirOrder, WritesThem, TakesTheirHoles])
def test_wrong_use_of_unlabelled_items_fails(wrong):
    contract.check_unlabelled(TakesUnlabelled)
    with pytest.raises(AssertionError):
        contract.check_unlabelled(wrong)


def test_unlabelled_items_are_checked_only_where_they_are_declared():
    for name, declared in (("opta", True), ("nearest-mean", False)):
        assert (contract.check_unlabelled in contract.checks(card_of("classify", name))) == declared


def test_every_check_has_a_wrong_part():
    assert {c.__name__ for c in contract.checks(CARD)} == {c.__name__ for c, _ in WRONG}


def test_observing_is_checked_only_where_it_is_declared():
    names = [c.__name__ for c in contract.checks(card_of("classify", "logistic-regression"))]
    assert "check_observe_is_fit" not in names
