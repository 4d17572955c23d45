"""The protocol of things before other grounds: a planted ground is told, and other data are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import planted_cues
from tellapart.protocol import recombined as room


def test_a_planted_ground_has_the_largest_drop(monkeypatch):
    rng = np.random.default_rng(0)
    down, across = np.mgrid[:20, :20]
    disc = np.hypot(down - 9.5, across - 9.5) < 9
    drawings = [
        np.dstack([np.full((20, 20, 3), rng.integers(0, 200, 3)), 255 * disc]).astype(np.uint8) for _ in range(9)
    ]
    monkeypatch.setattr(planted_cues, "bases", lambda data: (drawings, None))
    monkeypatch.setattr(room, "ENCODER", "colour-histogram")
    plain, drops, p = room.asked("recombination(items=40)", room.planted("made", "ground", 0.95, 90, 1), 1)
    assert max(drops, key=lambda name: drops[name]) == "another ground" and p["another ground"] < 0.01
    assert plain["ground"] > p["another ground"]


def test_other_data_and_options_are_refused():
    with pytest.raises(PartError, match="no option 'sets'"):
        room.run({"part": "recombination", "options": {"sets": 1}}, "openmoji", 0)
    with pytest.raises(DataError, match="not 'coins'"):
        room.run({"part": "recombination", "options": {}}, "coins", 0)
