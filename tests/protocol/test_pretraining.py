"""The protocol of training without labels, on pictures of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.data import openmoji
from tellapart.protocol import pretraining

TRAINED = {"strategy": "multi-view", "learning_rate": 3e-3, "objective": "infonce(temperature=0.2)"}
STILL = TRAINED | {"learning_rate": 1e-9}


@pytest.fixture
def planted(monkeypatch):
    """240 noisy pictures of a bar at one of three heights."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    x = rng.integers(0, 120, (240, 16, 16, 3)).astype(np.uint8)
    for row, label in enumerate(y):
        x[row, 1 + 5 * label : 4 + 5 * label] += 90
    monkeypatch.setattr(pretraining, "pictures", lambda data: (x, y))


def run(data="digits", seed=0, **options):
    budget = {"train_items": 120, "batch_size": 40, "steps": 12}
    return pretraining.run({"options": budget | {"baseline": STILL, "variant": TRAINED, **options}}, data, seed)


def test_every_figure_has_its_control_and_the_tail_its_cost(planted):
    found = run(controls={"itself": TRAINED}, tail=True)
    names = [f"kNN accuracy (k={k})" for k in (1, 5, 20)] + ["linear probe accuracy"]
    every = [f"{name}{tail}" for name in names for tail in ("", ", long tail")] + ["cost of the long tail"]
    assert set(found) == {f"{name}{words}" for name in every for words in ("", " against itself")}
    for name in every:
        base, ours = found[f"{name} against itself"]
        assert np.array_equal(base, ours), "the control is the variant"
        assert len(ours) == 40
    even, uneven = (found[f"kNN accuracy (k=5){tail}"][1] for tail in ("", ", long tail"))
    assert np.array_equal(found["cost of the long tail"][1], even - uneven)


def test_options_are_chosen_by_validation(planted, monkeypatch):
    scores = {1e-9: 0.9, 3e-3: 0.2}
    monkeypatch.setattr(
        pretraining,
        "_trained",
        lambda data, recipe, seed, rows: (
            scores[recipe.learning_rate],
            {"kNN accuracy (k=5)": np.array([recipe.learning_rate])},
        ),
    )
    found = run(variant=TRAINED | {"learning_rate": [3e-3, 1e-9]})
    assert found["kNN accuracy (k=5)"][1].tolist() == [1e-9]


def test_shares_are_apart_and_the_tail_falls():
    y = np.random.default_rng(1).integers(0, 5, 2000)
    even, uneven = (pretraining.parts(y, 3, 400, tail=True, uneven=u) for u in (False, True))
    for rows in (even, uneven):
        together = np.concatenate(rows)
        assert len(np.unique(together)) == len(together)
    assert [len(rows) for rows in even] == [len(rows) for rows in uneven]
    assert all(np.array_equal(a, b) for a, b in zip(even[1:], uneven[1:], strict=True))
    counts = np.sort(np.bincount(y[uneven[0]]))[::-1]
    assert np.abs(counts * np.arange(1, 6) / counts[0] - 1).max() < 0.05
    assert np.bincount(y[even[0]]).min() > counts[1] / 2
    assert len(pretraining.parts(y, 3, 400, tail=False, uneven=False)[0]) == 400


def test_neighbours_vote_with_weights_and_ties_go_to_the_lowest():
    bank = np.eye(4)
    labels = np.array([2, 1, 1, 0])
    z = np.array([[0.9, 0.1, 0.1, 0.0], [0.0, 0.6, 0.6, 0.5], [0.5, 0.0, 0.0, 0.5]])
    assert pretraining.voted(bank, labels, z, 3).tolist() == [2, 1, 0]
    assert pretraining.voted(bank, labels, z, 1).tolist() == [2, 1, 2]


def test_emoji_are_concepts_of_several_pictures(monkeypatch, tmp_path):
    every = openmoji.names

    def of_three_concepts(drawings):
        kept = ("firefighter", "pilot", "waving hand")
        return {code: facts for code, facts in every(drawings).items() if openmoji.concept(facts[0]) in kept}

    monkeypatch.setattr(openmoji, "names", of_three_concepts)
    monkeypatch.setattr(pretraining, "shipped", lambda data: openmoji.openmoji(cache=tmp_path))
    x, y = pretraining.pictures("openmoji")
    assert x.shape[1:] == (16, 16, 3) and len(x) == len(y)
    assert np.bincount(y).tolist() == [18, 18] and pretraining.LEAST == 12, "six drawings of a waving hand are too few"


def test_what_it_does_not_know_is_said(planted):
    with pytest.raises(DataError, match="digits, fashion, openmoji"):
        run(data="docstrings")
    with pytest.raises(PartError, match="no option 'shots'"):
        run(shots=3)
