"""The protocol of kinds on pairs of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.identity import curate
from tellapart.protocol import kinds


@pytest.fixture
def planted(monkeypatch):
    """300 pairs of six kinds; what tells kinds apart is weak beside what a pair shares and kinds do not."""
    rng = np.random.default_rng(0)
    kind = np.arange(300) % 6
    cause = np.concatenate([1.5 * rng.normal(size=(6, 4))[kind], rng.normal(size=(300, 8))], axis=1)
    vectors = {
        side: (cause @ rng.normal(size=(12, 20)) + 2.5 * rng.normal(size=(300, 20))).astype(np.float32)
        for side in ("query", "document")
    }
    texts = {"anchor": [f"question {i}" for i in range(300)], "positive": [f"answer {i}" for i in range(300)]}
    made = curate(Collection.of({"id": [f"p{i}" for i in range(300)], **texts}))
    monkeypatch.setattr(kinds, "kinds", lambda data: (made, vectors, np.char.add("kind ", kind.astype(str))))


def spec(**options):
    budget = {"epochs": 4, "batch_size": 32, "queries": 4, "shots": [1], "episodes": 40, "train_items": 120}
    return {"part": "supcon", "baseline": "two-tower", "options": budget | options}


def test_training_brings_kinds_together_and_a_tie_is_a_tie(planted):
    longer = {"epochs": 20, "objective": "infonce(temperature=0.2)"}
    barely = {"epochs": 1, "learning_rate": 1e-6}
    found = kinds.run(spec(baseline=barely, variant=longer, controls=[longer]), "wordnet", 0)
    names = ["accuracy of kinds, 1 shots", "nDCG@10, both directions"]
    assert list(found)[:2] == names and len(found) == 4
    base, ours = found[names[0]]
    assert base.shape == ours.shape == (40,) and ours.mean() > base.mean()
    assert found[names[1]][1] > found[names[1]][0] + 0.1
    for name, pair in list(found.items())[2:]:
        assert "against epochs=20" in name and np.array_equal(*pair)


def test_options_are_chosen_by_validation_episodes(monkeypatch):
    seen = []

    def measured(data, recipe, seed, options):
        seen.append(recipe.epochs)
        return -abs(recipe.epochs - 5), {"figure": recipe.epochs}

    monkeypatch.setattr(kinds, "measured", measured)
    found = kinds.run(spec(baseline={"epochs": [2, 6, 9]}, variant={"epochs": [7, 3]}), "wordnet", 1)
    assert found == {"figure": (6, 7)} and seen == [2, 6, 9, 7, 3]


def test_equal_seeds_agree_and_others_do_not(planted):
    one, again, other = (kinds.run(spec(baseline={}, variant={"epochs": 5}), "docstrings", seed) for seed in (1, 1, 2))
    name = "nDCG@10, both directions"
    assert one[name] == again[name] != other[name]


def test_data_it_does_not_know_are_said():
    with pytest.raises(DataError, match="wordnet, docstrings"):
        kinds.run(spec(baseline={}, variant={}), "openmoji", 0)
