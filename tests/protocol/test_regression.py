"""The protocol of numbers on items of known truth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tellapart.core.errors import PartError
from tellapart.protocol import regression


def planted():
    """A number that features tell, among others of greater variance that say nothing."""
    rng = np.random.default_rng(0)
    y = rng.uniform(size=240)
    x = np.concatenate([y[:, None] + 0.05 * rng.normal(size=(240, 1)), rng.normal(size=(240, 20))], 1)
    return x.astype(np.float32), y * 50 + 7


@pytest.fixture(autouse=True)
def data(monkeypatch):
    monkeypatch.setitem(regression._SETS, "planted", planted)


def spec(**options):
    recipes = {
        "baseline": {"strategy": "two-tower", "objective": "supcon"},
        "variant": {"strategy": "supremix(mixes=4)", "objective": "supcon", "learning_rate": 0.02},
    }
    options = {"steps": 60, "batch_size": 32, "head": "linear-head(dim=8)", **recipes, **options}
    return {"part": "supremix", "baseline": "supcon", "options": options}


def test_a_recipe_that_cannot_learn_loses_and_errors_are_in_spreads_of_the_score():
    untaught = {"strategy": "supremix", "objective": "supcon", "learning_rate": 1e-9, "weight_decay": 0.0}
    found = regression.run(spec(baseline=untaught, untrained=True), "planted", 0)
    worse, ours = found["mean absolute error"]
    assert worse.shape == ours.shape == (60,) and ours.mean() < worse.mean() - 0.05
    assert found["Spearman correlation"][1] > found["Spearman correlation"][0]
    assert np.array_equal(found["mean absolute error against frozen features"][1], ours)
    guess = np.abs(planted()[1] - planted()[1].mean()).mean() / planted()[1].std()
    assert ours.mean() < 0.7 * guess and worse.mean() < 1.2 * guess


def test_equal_seeds_agree_and_controls_are_changes_of_the_variant():
    one, again = (regression.run(spec(controls=[{"strategy": "supremix(mixes=4)"}]), "planted", 1) for _ in range(2))
    assert all(np.array_equal(a, b) for name in one for a, b in zip(one[name], again[name], strict=True))
    same = one["mean absolute error against strategy=supremix(mixes=4)"]
    assert np.array_equal(*same)


def test_the_best_recipe_on_validation_items_is_taken(monkeypatch):
    seen = []

    def measured(x, y, parts, seed, recipe):
        seen.append(recipe.learning_rate)
        return {0.1: 3.0, 0.01: 1.0, 0.001: 2.0}[recipe.learning_rate], np.full(4, recipe.learning_rate), 0.0

    monkeypatch.setattr(regression, "_trained", measured)
    rates = {"learning_rate": [0.1, 0.01, 0.001]}
    found = regression.run(spec(variant=rates, baseline={"learning_rate": [0.1, 0.001]}), "planted", 0)
    assert found["mean absolute error"][0][0] == 0.001 and found["mean absolute error"][1][0] == 0.01
    assert seen == [0.1, 0.01, 0.001, 0.1, 0.001]


def test_unknown_options_and_data_are_refused():
    with pytest.raises(PartError, match="no option 'stepz'"):
        regression.run(spec(stepz=1), "planted", 0)
    with pytest.raises(PartError, match="there are no items with scores"):
        regression.run(spec(), "plantd", 0)
