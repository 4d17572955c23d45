"""The protocol of rare classes on features of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import _sets, imbalance

NAMES = ("AUC", "balanced accuracy")


def planted(n=900, classes=3, dim=6):
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, dim)) + 1.5 * np.eye(classes, dim)[y]
    return _sets.Labelled(x.astype(np.float32), y, np.arange(n))


@pytest.fixture(autouse=True)
def data(monkeypatch):
    monkeypatch.setitem(_sets._SETS, "planted", planted)


def spec(part="smote", baseline="smote(ratio=0)", **options):
    return {"part": part, "baseline": baseline, "options": {"odds": 20, **options}}


def test_filling_up_finds_more_of_the_rare_class_and_a_tie_is_a_tie():
    found = imbalance.run(spec(controls=["smote"]), "planted", 1)
    alone, ours = found["balanced accuracy"]
    assert ours > alone + 0.05 and 0.5 < found["AUC"][0] < 1
    assert found["AUC against smote"][0] == found["AUC against smote"][1]


def test_every_seed_has_its_rare_class_and_training_its_odds():
    assert imbalance.rare(planted(), 4).y.tolist() == (planted().y == 1).astype(int).tolist()
    few = imbalance.thinned(imbalance.rare(planted(), 0), 20, 0)
    assert np.bincount(few.y).tolist() == [600, 30]
    assert imbalance.run(spec(), "planted", 2) == imbalance.run(spec(), "planted", 2)


def test_options_are_chosen_on_validation_items_only(monkeypatch):
    seen, area = [], imbalance.area
    monkeypatch.setattr(imbalance, "area", lambda c, items: (seen.append(len(items.y)), area(c, items))[1])
    found = imbalance.run(spec(grid={"under": [1.0, 0.5], "alpha": [1.0]}), "planted", 0)
    assert seen == [180, 180, 270] * 2 and list(found) == ["AUC", "balanced accuracy"]


def test_every_learner_has_its_figures():
    learners = [["logistic-regression(c=0.1)", "logistic-regression"], ["nearest-mean"]]
    found = imbalance.run(spec(learners=learners), "planted", 0)
    assert list(found) == [f"{m}, {name}" for name in ("logistic-regression", "nearest-mean") for m in NAMES]
    means, linear = found["balanced accuracy, nearest-mean"], found["balanced accuracy, logistic-regression"]
    assert linear[1] > linear[0] + 0.05 and means[0] > linear[0] + 0.05, "means count classes alike without any points"


def test_the_area_is_the_share_of_pairs_in_order():
    class Known:
        def predict_proba(self, x):
            return np.hstack([1 - x, x])

        def predict(self, x):
            return (x[:, 0] > 0.5).astype(int)

    items = _sets.Labelled(np.array([[0.1], [0.6], [0.6], [0.2], [0.9]]), np.array([0, 0, 1, 1, 1]), np.arange(5))
    pairs = [(a, b) for a in (0.1, 0.6) for b in (0.6, 0.2, 0.9)]
    assert imbalance.area(Known(), items) == pytest.approx(sum((b > a) + 0.5 * (a == b) for a, b in pairs) / 6)
    assert imbalance.balanced(Known(), items) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(PartError, match="no option 'oods'"):
        imbalance.run(spec(oods=3), "planted", 0)
    with pytest.raises(DataError, match="lower `odds`"):
        imbalance.run(spec() | {"options": {"odds": 1000}}, "planted", 0)
