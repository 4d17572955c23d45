"""The protocol of merges on easy pictures: the soup serves, and models of different starts collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.protocol import merge


def pictures(data, items, n=400, size=8):
    """Four classes: a bright corner each, in noise."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    x = 0.3 * rng.random((n, size, size))
    for corner, (i, j) in enumerate(((0, 0), (0, 5), (5, 0), (5, 5))):
        x[y == corner, i : i + 3, j : j + 3] += 0.5
    return x.astype(np.float32), y


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setattr(merge, "pictures", pictures)


def spec(part, baseline="best-single", **options):
    return {"part": part, "baseline": baseline, "options": {"models": 3, "epochs": 2, **options}}


def test_every_comparison_is_made_item_by_item(data):
    found = merge.run(spec("model-soups"), "corners", 0)
    assert set(found) == {
        "accuracy", "accuracy, against uniform-soup", "accuracy, against the ensemble",
        "corrupted accuracy", "corrupted accuracy, against uniform-soup", "corrupted accuracy, against the ensemble",
        "control accuracy, models of different starts",
    }  # fmt: skip
    assert all(a.shape == b.shape == (140,) for a, b in found.values())
    assert found["accuracy"][1].mean() > 0.9
    again = merge.run(spec("model-soups"), "corners", 0)
    assert all(np.array_equal(found[m][i], again[m][i]) for m in found for i in (0, 1))


def test_a_part_may_be_the_baseline(data):
    found = merge.run(spec("uniform-soup", "model-soups"), "corners", 1)
    assert "accuracy, against uniform-soup" not in found and found["accuracy"][0].mean() > 0.5


def test_statistics_are_measured_on_what_is_given():
    x, _ = pictures("", 0)
    state = merge.fresh((8, 8), 4, 0)
    again = merge.measured_anew(state, x)
    out = torch.nn.functional.conv2d(torch.from_numpy(x)[:, None], torch.from_numpy(state["one.weight"]), padding=1)
    mean = out.mean(dim=(0, 2, 3)).numpy()
    assert np.allclose(again["norm_one.running_mean"], mean, atol=1e-4)
    assert np.array_equal(again["one.weight"], state["one.weight"])


def test_shifts_go_around_the_edge_and_as_often_as_asked():
    x = torch.from_numpy(pictures("", 0)[0])
    rng = np.random.default_rng(0)
    assert torch.equal(merge.shifted(x, 0.0, rng), x)
    moved = merge.shifted(x, 1.0, rng)
    assert torch.allclose(moved.sum(dim=(1, 2)), x.sum(dim=(1, 2)), atol=1e-4) and not torch.equal(moved, x)


def test_shares_cover_all_items_once():
    parts = merge.split(np.arange(100), 0)
    assert [len(p) for p in parts] == [50, 15, 35] and sorted(np.concatenate(parts)) == list(range(100))
