"""The protocol of few altered items, and the choice of rows that stand for others."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.coverage import covering_classes, dealt
from tellapart.core.errors import PartError
from tellapart.protocol import altered_few

OPTIONS = {"items": 60, "epochs": 2, "batch_size": 20, "noise": 0.3, "recipe": {"head": "linear-head(dim=16)"}}


def test_all_choices_are_judged():
    given = {"part": "data-efficient-aug", "options": OPTIONS | {"shares": [0.3], "noisy_shares": [0.5]}}
    found = altered_few.run(given, "digits", 0)
    choices = {"random", "max-loss", "none", "full"}
    wanted = {f"accuracy, 30% altered, {c}" for c in choices} | {
        f"noisy labels, accuracy, 50% altered, {c}" for c in choices
    }
    assert wanted == set(found) - {"share of the gain, 30% altered"}
    assert all(np.isin(x, (0, 1)).all() and x.mean() > 0.1 for name in wanted for x in found[name])
    assert len({found[name][0].tobytes() for name in wanted}) > 4


def test_wrong_labels_are_as_many_as_was_asked_for():
    y = np.arange(200) % 5
    assert (altered_few.mislabelled(y, 0.3, 0) != y).sum() == 60


def test_what_it_does_not_know_is_said():
    with pytest.raises(PartError, match="no option 'item'"):
        altered_few.run({"part": "data-efficient-aug", "options": OPTIONS | {"item": 3}}, "digits", 0)


def test_every_class_gives_its_share():
    assert dealt(np.array([50, 30, 3, 1]), 10).tolist() == [5, 3, 1, 1]
    assert dealt(np.array([4, 4]), 20).tolist() == [4, 4]
    x = np.random.default_rng(0).normal(size=(60, 3))
    rows, held = covering_classes(x, np.repeat([0, 1, 2], [40, 15, 5]), 12)
    assert np.bincount(np.repeat([0, 1, 2], [40, 15, 5])[rows]).tolist() == [8, 3, 1] and held.sum() == 60
