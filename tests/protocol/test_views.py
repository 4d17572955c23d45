"""The protocol of altered copies on pairs of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.identity import curate
from tellapart.protocol import views


@pytest.fixture
def planted(monkeypatch):
    """120 pairs of one cause whose features are noisy, and copies of them with other noise (`soda`) or none at all."""
    rng = np.random.default_rng(0)
    n = 120
    cause = rng.normal(size=(n, 12))
    maps = {side: rng.normal(size=(12, 24)) for side in ("query", "document")}

    def noisy(side):
        return (cause @ maps[side] + 2.0 * rng.normal(size=(n, 24))).astype(np.float32)

    vectors = {side: noisy(side) for side in maps}
    copies = {f"{side} view {v}": noisy(side) for side in maps for v in range(4)}
    texts = {"anchor": [f"question {i}" for i in range(n)], "positive": [f"answer {i}" for i in range(n)]}
    made = curate(Collection.of({"id": [f"p{i}" for i in range(n)], **texts}))
    monkeypatch.setattr(views, "collected", lambda data, pairs: made)
    monkeypatch.setattr(views, "embedded", lambda data, pairs, augment: vectors | (copies if augment else {}))
    views.measured.cache_clear()
    yield made
    views.measured.cache_clear()


def spec(**options):
    return {"part": "mask-words", "baseline": "two-tower", "options": {"epochs": 30, "batch_size": 32, **options}}


def test_copies_that_carry_the_cause_help(planted):
    found = views.run(spec(baseline={}, variant={"augment": "soda"}, controls=[{"augment": ""}]), "docstrings", 0)
    names = ["MRR@10, docstring to function", "nDCG@10, both directions"]
    assert list(found) == [*names, *(f"{name} against augment=" for name in names)]
    for name in names:
        base, ours = found[name]
        assert 0 < base < ours < 1
        assert found[f"{name} against augment="] == (base, ours), "the control is the baseline here"


def test_options_are_chosen_by_validation_and_seeds_differ(planted, monkeypatch):
    good, bad = "infonce(temperature=0.1)", "infonce(temperature=50.0)"
    both = views.run(spec(baseline={"objective": [bad, good]}, variant={"objective": good}), "docstrings", 1)
    assert both["nDCG@10, both directions"][0] == both["nDCG@10, both directions"][1]
    other = views.run(spec(baseline={"objective": good}, variant={"objective": good}), "docstrings", 2)
    assert other["nDCG@10, both directions"][1] != both["nDCG@10, both directions"][1]


def test_data_it_does_not_know_are_said():
    with pytest.raises(DataError, match="docstrings, scikit-learn"):
        views.run(spec(baseline={}, variant={}), "digits", 0)
