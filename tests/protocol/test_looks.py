"""The protocol of rare looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.core.errors import PartError
from tellapart.protocol import looks

PROXIES = {"strategy": "class-proxies", "objective": "infonce(temperature=0.1)"}
EQUITY = {"strategy": "dataset-equity", "objective": "infonce(temperature=0.1)"}


def options(**more):
    return {"items": 300, "rare": 0.1, "epochs": 2, "baseline": PROXIES, "variant": EQUITY} | more


def test_both_looks_are_judged_and_inverted_ones_are_found():
    given = {"part": "dataset-equity", "options": options(controls={"dealt": EQUITY | {"weights": "dealt"}})}
    found = looks.run(given, "digits-inverted", 0)
    assert found["looks told apart"][0] == 0.5 and found["looks told apart"][1] > 0.8
    rare, common = found["accuracy, rare look"], found["accuracy, common look, against dealt"]
    assert rare[0].shape == rare[1].shape == common[0].shape and set(np.unique(common[1])) <= {0.0, 1.0}
    assert common[1].mean() > 0.2


def test_what_is_proposed_is_compared_with_k_means():
    found = looks.run({"part": "rare-looks", "options": {"items": 300}}, "digits-inverted", 0)
    assert found["precision"] == (0.0, 1.0) and found["recall"][1] == 1.0 and found["AUROC"][0] < 1 == found["AUROC"][1]


def test_every_class_has_as_many_of_the_rare_look():
    y = np.repeat(np.arange(4), [50, 100, 20, 3])
    rare = looks.drawn(y, 0.04, 0)
    assert np.bincount(y[rare]).tolist() == [2, 4, 1, 1] and not np.array_equal(rare, looks.drawn(y, 0.04, 1))


def test_inverse_weights_are_of_the_share_and_of_mean_one():
    class Held:
        weight, share = torch.ones(4), torch.tensor([0.75, 0.75, 0.75, 0.25])

    found = looks._otherwise(Held(), "inverse", 0)
    assert found.mean() == pytest.approx(1) and found[3] / found[0] == pytest.approx(3)


def test_what_it_does_not_know_is_said():
    with pytest.raises(PartError, match="no option 'item'"):
        looks.run({"part": "dataset-equity", "options": options(item=3)}, "digits-turned", 0)
    with pytest.raises(PartError, match="did you mean digits-turned"):
        looks.run({"part": "dataset-equity", "options": options()}, "digits-turnd", 0)
    with pytest.raises(PartError, match="keeps a weight"):
        looks.run(
            {"part": "dataset-equity", "options": options(variant=PROXIES | {"weights": "dealt"})}, "digits-turned", 0
        )
