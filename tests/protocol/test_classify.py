"""The protocol of classifiers on features of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import PartError
from tellapart.protocol import _sets, classify


def stretched(n=600, classes=4, dim=12, words=False):
    """Classes that differ in a direction of small variance and share one of large variance: covariance matters."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, dim)) * np.array([8.0] + [1.0] * (dim - 1)) + 30
    x[:, 1 : classes + 1] += 3 * np.eye(classes)[y]
    names = np.eye(classes, 5)[y] + 0.01
    return _sets.Labelled(x.astype(np.float32), y, np.arange(n), names.astype(np.float32) if words else None)


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setitem(_sets._SETS, "stretched", stretched)
    monkeypatch.setitem(_sets._SETS, "named", lambda: stretched(words=True))
    return "stretched"


def spec(**options):
    return {"part": "clip-gda", "baseline": "nearest-mean", "options": options}


def test_the_better_classifier_is_found_and_a_tie_is_a_tie(data):
    found = classify.run(spec(shots=[16], also=["majority", "clip-gda"]), data, 0)
    base, ours = found["accuracy, 16 shots"]
    assert base.shape == ours.shape == (180,) and ours.mean() > base.mean() + 0.1
    assert np.array_equal(*found["accuracy, 16 shots, against clip-gda"])
    assert found["accuracy, 16 shots, against majority"][0].mean() == pytest.approx(0.25, abs=0.02)


def test_equal_seeds_agree_and_others_do_not(data):
    one, again, other = (classify.run(spec(shots=[2]), data, seed)["accuracy, 2 shots"] for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_options_are_chosen_on_validation_items_only(data, monkeypatch):
    seen = []
    true_right = classify.right
    monkeypatch.setattr(classify, "right", lambda c, items: (seen.append((c, len(items.y))), true_right(c, items))[1])
    grid = {"alpha": [0.01, 1.0, 100.0]}
    classify.run(spec(shots=[4], part_grid=grid, validation_items=3), data, 0)
    assert [n for _, n in seen] == [12, 12, 12, 180, 180], "three tries on validation items, each part once on the test"


def test_the_best_of_a_grid_is_taken(data):
    few, held = _sets.split(stretched(), 0, (0.1, 0.9))
    made = classify.tuned("logistic-regression", {"c": [1e-6, 1.0]}, few, held)
    assert made.c == 1.0
    assert classify.tuned("nearest-mean", {}, few, held).classes_.tolist() == [0, 1, 2, 3]


def test_the_mix_is_compared_with_both_of_its_halves(data):
    found = classify.run(spec(shots=[2], text=True), "named", 0)
    alone, mix = found["mix, 2 shots, against the part alone"]
    assert np.array_equal(alone, found["accuracy, 2 shots"][1])
    assert np.array_equal(mix, found["mix, 2 shots, against text alone"][1])
    assert not any("mix" in metric for metric in classify.run(spec(shots=[2], text=True), data, 0))


def test_a_text_head_in_the_space_of_the_features_is_taken_as_it_is():
    held = stretched(words=True)
    same = _sets.Labelled(held.x[:, :5], held.y, held.group, held.words)
    head = classify.text_head(same, same, 0)
    assert (
        head.shape == (4, 5)
        and np.allclose(np.linalg.norm(head, axis=1), 1)
        and (head.argmax(axis=1) == range(4)).all()
    )
    assert classify.text_head(held, held, 0).shape == (4, 12)


def test_a_split_cuts_no_group_and_keeps_classes():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 120, size=600)
    data = _sets.Labelled(rng.normal(size=(600, 2)), group % 3, group)
    parts = _sets.split(data, 3, (0.5, 0.2, 0.3))
    groups = [set(p.group.tolist()) for p in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert sum(len(p.y) for p in parts) == 600 and all(set(p.y.tolist()) == {0, 1, 2} for p in parts)
    assert len(groups[0]) == pytest.approx(0.5 * len(set(group.tolist())), abs=3)


def test_small_classes_are_left_out_and_unknown_data_refused():
    data = stretched(n=80)
    y = data.y.copy()
    y[:3] = 9
    kept = classify.enough(_sets.Labelled(data.x, y, data.group), 8)
    assert set(kept.y.tolist()) == {0, 1, 2, 3}
    with pytest.raises(PartError, match="did you mean digits"):
        _sets.load("digit")


def test_digits_are_there_and_the_draw_is_even():
    data = _sets.load("digits")
    assert data.x.shape == (1797, 64) and data.x.max() == 1.0
    rows = classify.draw(data.y, 3, np.random.default_rng(0))
    assert np.bincount(data.y[rows]).tolist() == [3] * 10 and len(set(rows.tolist())) == 30
