"""The protocol of feature suppression: composites of known truth, and what is compared on them."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import suppression


@pytest.fixture
def drawn(monkeypatch):
    """Drawings and digits of a generator, so that nothing has to be read."""
    rng = np.random.default_rng(0)
    side, kinds = suppression.SIDE, suppression.KINDS
    written = np.arange(600) % kinds
    glyphs = rng.random((kinds, side, side)).astype(np.float32)[written]
    glyphs = glyphs * rng.uniform(0.9, 1, (600, 1, 1))
    icons = np.ones((kinds, side, side, 3), np.float32) * rng.random((kinds, 1, 1, 3), np.float32)
    monkeypatch.setattr(suppression, "digits", lambda: (glyphs, written))
    monkeypatch.setattr(suppression, "emoji", lambda: icons)


def spec(**options):
    budget = {"epochs": 3, "batch_size": 64, "items": 300}
    return {"part": "mcl", "baseline": "two-tower", "options": budget | options}


def test_composites_hold_three_labels_that_say_nothing_of_each_other(drawn):
    shares = suppression.composites(500, 3)
    assert [len(labels) for _, labels in shares] == [300, 75, 125]
    labels = np.concatenate([labels for _, labels in shares])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        table = np.zeros((10, 10))
        np.add.at(table, (labels[:, a], labels[:, b]), 1)
        assert ((table - 5) ** 2 / 5).sum() < 81 + 4 * np.sqrt(2 * 81)
    (one, other), kinds = shares[0]
    assert one.shape == other.shape == (300, 2 * 3 * suppression.SIDE**2)
    near = ((one[:, None, ::7] - other[None, :, ::7]) ** 2).sum(2).argmin(1)
    assert (kinds[near, 0] == kinds[:, 0]).mean() > 0.6, "both views must show one composite"
    assert not np.array_equal(one, other)
    again = suppression.composites(500, 3)
    assert np.array_equal(again[0][0][0], one)
    assert not np.array_equal(suppression.composites(500, 4)[0][1], kinds)


def test_part_baseline_and_ensemble_have_one_budget(drawn, monkeypatch):
    fits = []
    trained = suppression.fit

    def watched(recipe, data, *, seed):
        fits.append((recipe.strategy, recipe.epochs, seed))
        return trained(recipe, data, seed=seed)

    monkeypatch.setattr(suppression, "fit", watched)
    plain = {"head": "linear-head(dim=6)"}
    found = suppression.run(
        spec(
            variant={"strategy": "mcl", "head": "staged-head(dim=6)"},
            baseline=plain | {"learning_rate": [1e-5, 1e-2]},
            member={"head": "linear-head(dim=2)"},
        ),
        "digits-on-emoji",
        0,
    )
    assert fits[:3] == [("mcl", 3, 0), ("two-tower", 3, 0), ("two-tower", 3, 0)]
    assert fits[3:] == [("two-tower", 1, seed) for seed in (0, 1000, 2000)]
    names = [f"accuracy of {name}" for name in ("colour", "digit", "emoji")]
    assert list(found) == [*names, *(f"{name}, against an ensemble" for name in names)]
    assert all(0 <= value <= 1 for pair in found.values() for value in pair)
    assert found[names[0]][0] > 0.3, "colours are easy"


def test_what_it_does_not_know_is_refused():
    with pytest.raises(DataError, match="makes digits-on-emoji"):
        suppression.run(spec(), "digits", 0)
    with pytest.raises(PartError, match="no option 'shots'"):
        suppression.run(spec(shots=3), "digits-on-emoji", 0)
