"""The protocol of slices: which cells there are, and what is tossed for."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import slices


def test_cells_are_values_and_pairs_of_values_with_items_enough():
    columns = {"tone": ["d", "l"] * 60, "hair": ["c"] * 30 + ["s"] * 90, "sure": ["d", "l"] * 60}
    cells = slices.able(columns)
    assert "tone=d & hair=s" in cells and cells["tone=d & hair=s"].sum() == 45
    assert "tone=d & hair=c" not in cells, "15 items are too few"
    assert "tone=d & sure=d" not in cells, "a value of one column that is one of another is no new slice"


def test_the_gap_that_is_tossed_for_is_that_within_classes():
    label, inside = np.repeat([0, 1], 50), np.arange(100) % 4 == 0
    rate = np.repeat([0.8, 0.4], 50)
    assert slices._expected(rate, label, inside, 0.5, label) == pytest.approx(0.3, abs=0.01)


def test_a_planted_slice_has_the_first_place(monkeypatch):
    rng = np.random.default_rng(0)
    label = np.arange(800) % 2
    x = rng.normal(size=(800, 6)) + 4 * np.eye(6)[label]
    columns = {"tone": rng.choice(["d", "l"], 800).tolist(), "hair": rng.choice(["c", "s", "w"], 800).tolist()}
    monkeypatch.setattr(slices, "attributes", lambda data: (x, label, columns))
    monkeypatch.setitem(slices.NOISE, "made", 0.5)
    monkeypatch.setattr(slices, "SPOILT", 20.0)
    found = slices.run({"part": "slices", "options": {"deals": 3}}, "made", 0)
    assert found[slices.FIRST][1] >= 0.75 and found[slices.CALLED][1] == 0
    with pytest.raises(PartError, match="no option 'deal'"):
        slices.run({"part": "slices", "options": {"deal": 3}}, "made", 0)


def test_other_data_are_refused():
    with pytest.raises(DataError, match="not 'coins'"):
        slices.attributes("coins")
