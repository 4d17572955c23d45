"""The protocol of new classes: how classes are parted, its measures by hand, and planted features."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import subspaces

TREE = {"all": None, "a": "all", "b": "all", "c": "a", "d": "a", "e": "b", "alone": None}


def spec(**options):
    budget = {"epochs": 4, "batch_size": 32, "items": 20, "head": "linear-head(dim=8)", "shots": 3}
    return {"part": "hydra-pairs", "baseline": "two-tower", "options": budget | options}


@pytest.fixture
def planted(monkeypatch):
    """Ten classes of 24 items in twelve numbers, of which six tell classes; some classes are nearer than others."""
    rng = np.random.default_rng(0)
    means = 2 * rng.normal(size=(10, 6))
    y = np.repeat(np.arange(10), 24)
    x = np.concatenate([means[y] + rng.normal(size=(240, 6)), 3 * rng.normal(size=(240, 6))], 1).astype(np.float32)
    near = -((means[:, None] - means[None]) ** 2).sum(2)
    monkeypatch.setattr(subspaces, "classes", lambda data: (x, y, near if data == "wordnet-kinds" else None))


def test_both_are_measured_on_classes_they_never_saw(planted):
    barely = {"objective": "supcon", "learning_rate": [1e-6, 1e-5]}
    found = subspaces.run(spec(baseline=barely, variant={"strategy": "hydra-pairs"}), "wordnet-kinds", 0)
    names = ["accuracy, new classes", "effective rank", "relations"]
    assert list(found) == [*names, *(f"{name}, against frozen features" for name in names)]
    assert all(np.isfinite(value) for pair in found.values() for value in pair)
    assert 1 <= found[names[1]][0] <= 8 and found[names[0]][1] > 0.5
    assert found["relations, against frozen features"][0] > 0.3, "means of classes tell how near they are"
    same = {"objective": "supcon"}
    tie = subspaces.run(spec(baseline=same, variant=same), "digits", 0)
    assert len(tie) == 4
    assert all(tie[name][0] == tie[name][1] for name in names[:2])


def test_classes_are_parted_whole():
    y = np.repeat(np.arange(10), 7)
    parts = subspaces.parted(y, 5, 1)
    held = [set(y[rows].tolist()) for rows in parts]
    assert [len(h) for h in held] == [5, 2, 3] and not held[0] & held[1] and not (held[0] | held[1]) & held[2]
    assert all(np.bincount(y[rows]).max() == 5 and len(set(rows.tolist())) == len(rows) for rows in parts)
    assert not np.array_equal(parts[0], subspaces.parted(y, 5, 2)[0])


def test_measures_by_hand():
    assert np.isclose(subspaces.effective_rank(np.eye(4)), 4)
    assert np.isclose(subspaces.effective_rank(np.ones((5, 3))), 1)
    table = np.arange(16.0).reshape(4, 4)
    assert np.isclose(subspaces.related(table, table**3), 1) and np.isclose(subspaces.related(-table, table), -1)
    assert np.allclose(
        subspaces.path_similarity(["c", "d", "e", "alone"], TREE),
        [[1, 1 / 3, 1 / 5, 0], [1 / 3, 1, 1 / 5, 0], [1 / 5, 1 / 5, 1, 0], [0, 0, 0, 1]],
    )


def test_kinds_are_topmost_and_hold_what_is_below_them(monkeypatch):
    monkeypatch.setattr(subspaces, "BELOW", (2, 4))
    monkeypatch.setattr(subspaces, "KINDS", 2)
    tree = TREE | {"f": "b", "g": "e"}
    kinds, members = subspaces.kinds_of(tree)
    assert kinds == ["a", "b"] and members == [["c", "d"], ["e", "g"]]


def test_what_it_does_not_know_is_refused():
    with pytest.raises(DataError, match="knows digits, wordnet-kinds"):
        subspaces.run(spec(), "fashion", 0)
    with pytest.raises(PartError, match="no option 'kinds'"):
        subspaces.run(spec(kinds=3), "digits", 0)
