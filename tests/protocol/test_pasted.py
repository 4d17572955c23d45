"""Faults of known place, and that what does best beforehand is what is judged."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import pasted

SIDE = pasted.SIDE


def cloud(rng):
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[30:80, 20:90] = rng.integers(120, 160, (50, 70, 1))
    return picture


def test_a_fault_lies_on_what_is_shown_and_nothing_else_changes():
    rng = np.random.default_rng(0)
    whole = cloud(rng)
    for _ in range(30):
        found, mask = pasted.spoilt(whole, rng)
        assert 50 < mask.sum() < 900 and (found[~mask] == whole[~mask]).all()
        assert len(np.unique(found[mask], axis=0)) == 1
        assert mask[20:90, 10:100].any()


def test_metrics_name_what_is_compared(monkeypatch):
    monkeypatch.setattr(pasted, "pictures", lambda data, seed, count, rng: [cloud(rng) for _ in range(count)])
    options = {"anchors": [2], "smoothings": [0.01, 0.1], "steps": [1], "fit": 3, "tune": 2, "probe": 2}
    found = pasted.run({"part": "anovl", "options": options}, "any", 0)
    assert len(found) == 6
    for name in ("pixel auroc", "image auroc"):
        (plain, ours), smoothed = found[name], found[f"{name}, smoothed against plain"]
        assert smoothed[0] == plain and found[f"{name}, adapter against smoothed"] == (smoothed[1], ours)
        assert 0 <= ours <= 1
    assert found["pixel auroc"][0] > 0.6


def test_what_is_unknown_is_refused():
    with pytest.raises(PartError, match="no option 'tests'"):
        pasted.run({"part": "anovl", "options": {"tests": 3}}, "fashion", 0)
    with pytest.raises(DataError, match="fashion and openmoji"):
        pasted.pictures("digits", 0, 3, np.random.default_rng(0))
