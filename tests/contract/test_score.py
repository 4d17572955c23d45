"""Every check of the score contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.contract import score as contract
from tellapart.core.parts import card_of
from tellapart.parts.score.clipn import Clipn
from tellapart.parts.score.dsir import Dsir
from tellapart.parts.score.knn import Knn
from tellapart.parts.score.l1_a_mtrl import L1AMtrl
from tellapart.parts.score.mahalanobis_ood import MahalanobisOod
from tellapart.parts.score.q_eval import QEval

NAMES = ("knn", "mahalanobis-ood", "dsir", "l1-a-mtrl", "clipn", "q-eval")
KNN, MAHALANOBIS, DSIR, SOURCES, CLIPN, GRADES = (card_of("score", n) for n in NAMES)


class Doubles(Knn):
    def score(self, x):
        return super().score(x).astype(np.float64)


class OneForAll(Knn):
    def score(self, x):
        return super().score(x)[:1]


class UpsideDown(Knn):
    def score(self, x):
        return -super().score(x)


class RanksTheBatch(Knn):
    def score(self, x):
        score = super().score(x)
        return (score - score.min()).astype(np.float32)


class LearnsInScoring(Knn):
    def score(self, x):
        score = super().score(x)
        self.fit(np.concatenate([self.stored_, x]))
        return score


class Remembers(Knn):
    def fit(self, x, y=None):
        return super().fit(np.concatenate([self.stored_, x]) if hasattr(self, "stored_") else x)


class WritesItsInput(Knn):
    def fit(self, x, y=None):
        x += 1.0
        return super().fit(x)


class TakesHoles(Knn):
    def score(self, x):
        return super().score(np.nan_to_num(x))


class UsesLabels(Knn):
    def fit(self, x, y=None):
        return super().fit(x if y is None else x[y == y[0]])


class InventsLabels(MahalanobisOod):
    def fit(self, x, y=None, **more):
        return super().fit(x, np.arange(len(x)) % 2 if y is None else y, **more)


class IgnoresTheAdded(MahalanobisOod):
    def add_class(self, x, label):
        return self


class FirstLayerOnly(MahalanobisOod):
    def score(self, x):
        return super().score(x if not isinstance(x, list) or len(x) == len(self.means_) else [*x, x[0][:, :5]])


class AwayFromTarget(Dsir):
    def score(self, x):
        return -super().score(x)


class SelectsTheFirst(Dsir):
    def select(self, x, n, *, rng):
        return np.arange(n)


class SelectsWithReplacement(Dsir):
    def select(self, x, n, *, rng):
        return np.sort(rng.choice(super().select(x, n, rng=rng), size=n))


class ForgetsInObserving(Dsir):
    def observe(self, x, y):
        return self.fit(x, y)


class IgnoresSources(L1AMtrl):
    def select(self, x, n, *, rng, sources):
        return np.sort(rng.choice([i for i, name in enumerate(sources) if name != "sea"], n, replace=False))


class TakesOneSource(L1AMtrl):
    def fit(self, x, y=None):
        return self if len(set(map(str, [] if y is None else y))) == 2 else super().fit(x, y)


class KnowsEverything(Clipn):
    def unknown(self, x):
        return np.zeros(len(x), bool)


class KeepsItsNames(Clipn):
    def named(self, names):
        return self if hasattr(self, "no_") else super().named(names)


class WorstFirst(QEval):
    def score(self, x):
        return 1 - super().score(x)


class TakesOneGrade(QEval):
    def fit(self, x, y=None):
        return self if y is not None and len(set(map(str, y))) == 1 else super().fit(x, y)


WRONG = [
    (KNN, "check_shape", Doubles),
    (KNN, "check_shape", OneForAll),
    (KNN, "check_higher_is_more_unknown", UpsideDown),
    (KNN, "check_no_batch_mates", RanksTheBatch),
    (KNN, "check_no_batch_mates", LearnsInScoring),
    (KNN, "check_refit_forgets", Remembers),
    (KNN, "check_input_unchanged", WritesItsInput),
    (KNN, "check_bad_input", TakesHoles),
    (KNN, "check_labels_not_needed", UsesLabels),
    (MAHALANOBIS, "check_labels_needed", InventsLabels),
    (MAHALANOBIS, "check_class_added", IgnoresTheAdded),
    (MAHALANOBIS, "check_layers", FirstLayerOnly),
    (DSIR, "check_higher_is_more_target", AwayFromTarget),
    (DSIR, "check_select", SelectsTheFirst),
    (DSIR, "check_select", SelectsWithReplacement),
    (DSIR, "check_observe_is_fit", ForgetsInObserving),
    (SOURCES, "check_select", IgnoresSources),
    (SOURCES, "check_bad_input", TakesOneSource),
    (GRADES, "check_higher_is_better", WorstFirst),
    (GRADES, "check_bad_input", TakesOneGrade),
    (CLIPN, "check_names", KnowsEverything),
    (CLIPN, "check_names", KeepsItsNames),
]
IDS = [f"{name}-{wrong.__name__}" for _, name, wrong in WRONG]


def find(card, name):
    return next(c for c in contract.checks(card) if c.__name__ == name)


@pytest.mark.parametrize(("card", "name", "wrong"), WRONG, ids=IDS)
def test_a_wrong_part_fails(card, name, wrong):
    with pytest.raises(AssertionError):
        find(card, name)(lambda **options: wrong(**options))


def test_every_check_has_a_wrong_part():
    all_checks = {
        c.__name__ for card in (KNN, MAHALANOBIS, DSIR, SOURCES, CLIPN, GRADES) for c in contract.checks(card)
    }
    assert all_checks == {name for _, name, _ in WRONG}
