"""What the protocol topics measures, on vectors of known truth and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.protocol.topics import World, auroc, chosen, f1, figures_of, run


def world(noise: float) -> World:
    rng = np.random.default_rng(0)
    topic = np.repeat(["a", "b"], 30)
    items = np.eye(4)[np.repeat([0, 1], 30)] + noise * rng.normal(size=(60, 4))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    return World(items, topic, {"a": np.eye(4)[[0, 2]], "b": np.eye(4)[[1, 3]]})


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    score, true = rng.normal(size=200).round(1), rng.random(200) < 0.3
    assert auroc(score, true) == pytest.approx(roc_auc_score(true, score))
    assert f1(score > 0.5, true) == pytest.approx(f1_score(true, score > 0.5))


def test_a_topic_has_its_own_value() -> None:
    for part in (None, make("classify", "rocchio")):
        found = figures_of(part, world(0.05))
        assert found["AUROC"].tolist() == [1.0, 1.0] and found["F1"].tolist() == [1.0, 1.0]


def test_options_are_chosen_by_their_area() -> None:
    best = chosen("rocchio", {"most": [60, 10], "fewest": [1], "at_least": [-1.0]}, world(0.3))
    assert best.most == 10


def test_unknown_data_and_options_are_named() -> None:
    with pytest.raises(DataError, match="knows glosses"):
        run({"options": {}}, "digits", 0)
    with pytest.raises(PartError, match="no option 'wrong'"):
        run({"options": {"wrong": 1}}, "glosses", 0)
