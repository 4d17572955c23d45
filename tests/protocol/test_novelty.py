"""The protocol of unseen classes on features of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import PartError
from tellapart.protocol import _sets, novelty


def clusters(n=400, classes=10, dim=12, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return _sets.Labelled((np.eye(dim)[y] + 0.1 * rng.normal(size=(n, dim))).astype(np.float32), y, np.arange(n))


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setitem(_sets._SETS, "clusters", clusters)
    return "clusters"


NEAR = {"scores": {"knn": {"k": [1, 5]}}}
BLIND = {"scores": {"knn": {"k": [120]}}}


def test_metrics_are_paired_by_contender_and_by_what_is_merged(data):
    options = {"variant": NEAR, "baseline": BLIND, "against": {"itself": NEAR}, "merge": [1, 2]}
    found = novelty.run({"options": options}, data, 0)
    ends = ["", " against itself", ", 2 kinds a class", ", 2 kinds a class against itself"]
    assert list(found) == [f"{metric}{end}" for end in ends for metric in ("auroc", "fpr95")]
    assert found["auroc"][1] > 0.99 > found["auroc"][0] and found["fpr95"][1] < 0.05
    assert found["auroc against itself"][0] == found["auroc against itself"][1]
    assert found["auroc, 2 kinds a class"] == found["auroc"], "knn looks at no label"
    assert novelty.run({"options": options}, data, 0) == found != novelty.run({"options": options}, data, 1)


def test_no_class_and_no_item_is_in_two_shares(data):
    whole = clusters()
    split, merged = novelty.parted(data, 3, 1), novelty.parted(data, 3, 3)
    rows = {x.tobytes(): i for i, x in enumerate(whole.x)}
    shares = [split.x, split.tune[0], split.probe[0], split.tune[1], split.probe[1]]
    at = [[rows[x.tobytes()] for x in part] for part in shares]
    assert sorted(i for part in at for i in part) == list(range(len(whole.x)))
    kinds = [set(whole.y[part]) for part in at]
    assert kinds[0] == kinds[1] == kinds[2] and [len(k) for k in kinds] == [6, 6, 6, 2, 2]
    assert not kinds[3] & kinds[4] and not kinds[0] & (kinds[3] | kinds[4])
    assert np.array_equal(split.x, merged.x) and sorted(set(merged.y)) == [0, 1]
    of = {label: set(split.y[merged.y == label]) for label in (0, 1)}
    assert [len(k) for k in of.values()] == [3, 3] and not of[0] & of[1]


def test_options_are_chosen_on_validation(data):
    split = novelty.parted(data, 0, 1)
    swapped = novelty.Split(split.x, split.y, split.tune[::-1], split.probe)
    both = {"scores": {"knn": {"k": [1, 120]}}}
    first, other = (novelty.best(s, both, options={}, seed=0) for s in (split, swapped))
    assert first["auroc"] > other["auroc"], "what validation says changes nothing"


def test_a_head_is_trained_on_the_known_classes(data):
    split = novelty.parted(data, 0, 1)
    fields = {"strategy": "class-proxies", "learning_rate": 0.01, "head": "linear-head(dim=5)"}
    seen = novelty.trained(split, fields, {"epochs": 3}, 0)
    assert seen.x.shape == (len(split.x), 5) and np.array_equal(seen.y, split.y)
    for mine, given in ((seen.tune, split.tune), (seen.probe, split.probe)):
        assert [z.shape for z in mine] == [(len(x), 5) for x in given]
    recipe = {name: value for name, value in fields.items() if name != "head"}
    contender = {"recipe": {**recipe, "head": ["linear-head(dim=5)"]}, **NEAR}
    assert novelty.best(split, contender, options={"epochs": 3}, seed=0)["auroc"] > 0.6


def test_unknown_options_are_refused(data):
    with pytest.raises(PartError, match="no option 'budget'"):
        novelty.run({"options": {"variant": NEAR, "baseline": NEAR, "budget": 3}}, data, 0)
