"""Faults that are planted are there, and what mends them does."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.protocol import spaces


def sides(seed=0, n=200):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(3 * n, 24)) + 0.3
    both = {"query": unit_rows(z + 0.5 * rng.normal(size=z.shape)), "document": unit_rows(z)}
    names = ("train", "validation", "test")
    return {name: {s: x[i * n : (i + 1) * n] for s, x in both.items()} for i, name in enumerate(names)}


def test_planted_hubs_and_a_planted_gap_are_told_and_foretold(monkeypatch):
    monkeypatch.setattr(spaces, "encoded", lambda *_: sides())
    hubs = spaces.harm("hubness", "made", 0)
    assert hubs["planted hubs shown"][1] > 0.4  # a tenth of all is planted
    assert hubs["right about harm, as it is"][1] == 1
    gap = spaces.harm("modality-gap", "made", 0)
    assert list(gap) == [f"{what}, {how}" for how in ("as it is", "planted") for what in (
        "error of what mending brings", "right about harm")]  # fmt: skip


def test_a_gap_moves_the_sides_apart_and_keeps_lengths():
    before = sides()
    after, planted = spaces.with_gap(before, np.random.default_rng(0))

    def apart(held):
        return np.linalg.norm(held["test"]["query"].mean(0) - held["test"]["document"].mean(0))

    assert apart(after) > 1.5 > 0.3 > apart(before) and not len(planted)
    assert np.allclose(np.linalg.norm(after["test"]["query"], axis=1), 1)


def test_a_part_that_it_does_not_know_is_refused():
    with pytest.raises(DataError, match="hubness"):
        spaces.run({"part": "mmvp", "options": {}}, "openmoji", 0)
