"""The protocol of few labels on features of known truth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tellapart.core.errors import PartError
from tellapart.protocol import _sets, labels


def planted(n=600, classes=3):
    """Classes that differ in directions of small variance, among others of large variance."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = np.concatenate([2.5 * np.eye(classes)[y], np.zeros((n, 20))], 1) + rng.normal(size=(n, classes + 20))
    return _sets.Labelled(x.astype(np.float32), np.array(list("abc"))[y], np.arange(n))


@pytest.fixture(autouse=True)
def data(monkeypatch):
    monkeypatch.setitem(_sets._SETS, "planted", planted)


def spec(**options):
    taught = {"strategy": "class-proxies", "objective": "infonce(temperature=0.1)", "learning_rate": 0.01}
    options = {"steps": 60, "batch_size": 16, "head": "linear-head(dim=4)", "baseline": taught} | options
    variant = {"strategy": "core-tuning", "objective": "focal-supcon", "learning_rate": 0.01}
    return {"part": "core-tuning", "baseline": "class-proxies", "options": {"variant": variant} | options}


def test_a_recipe_that_cannot_learn_loses():
    untaught = {"strategy": "class-proxies", "learning_rate": 1e-9, "weight_decay": 0.0}
    found = labels.run(spec(baseline=untaught, untrained=True), "planted", 0)
    worse, ours = found["accuracy"]
    assert worse.shape == ours.shape == (180,) and ours.mean() > worse.mean() + 0.1
    assert found["scatter"][1] < 0.5 * found["scatter"][0]
    assert found["accuracy against frozen features"][0].mean() > 0.6


def test_equal_seeds_agree_and_controls_are_changes_of_the_variant():
    control = {"objective": "focal-supcon"}
    one, again = (labels.run(spec(controls=[control], shots=10), "planted", 1) for _ in range(2))
    assert all(np.array_equal(a, b) for name in one for a, b in zip(one[name], again[name], strict=True))
    assert np.array_equal(*one["accuracy against objective=focal-supcon"])


def test_the_best_recipe_on_validation_items_is_taken(monkeypatch):
    validation = {0.1: 0.3, 0.01: 0.9, 0.001: 0.5}

    def trained(parts, seed, recipe):
        assert [len(p.y) for p in parts] == [60, 120, 180]
        return validation[recipe.learning_rate], np.full(4, recipe.learning_rate), 0.0

    monkeypatch.setattr(labels, "_trained", trained)
    rates = {"learning_rate": [0.1, 0.01, 0.001]}
    found = labels.run(spec(variant=rates, baseline={"learning_rate": [0.1, 0.001]}), "planted", 0)
    assert found["accuracy"][0][0] == 0.001 and found["accuracy"][1][0] == 0.01


def test_scatter_is_the_variance_within_over_that_between():
    x, y = np.array([[0.0], [2.0], [10.0], [14.0], [12.0]]), np.array([0, 0, 1, 1, 1])
    within, between = (1 + 1) + (4 + 4), 2 * (1 - 7.6) ** 2 + 3 * (12 - 7.6) ** 2
    assert labels.scatter(x, y) == pytest.approx(within / between)


def test_an_unknown_option_is_refused():
    with pytest.raises(PartError, match="no option 'shotz'"):
        labels.run(spec(shotz=1), "planted", 0)
