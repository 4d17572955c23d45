"""The protocol of queries: what form a text is told to be, and planted forms and lengths beside hard ones."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import queries as room


@pytest.fixture
def words(monkeypatch):
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("abcdefghiklmnoprstu"), 6)) for _ in range(300)]
    texts = sorted({", ".join(rng.choice(names, int(rng.integers(4, 12)))) for _ in range(150)})
    monkeypatch.setattr(room, "texts_of", lambda data: texts)
    return texts


def test_a_form_is_told_from_the_text_it_was_made_of():
    whole = "The old, grey harbour"
    assert room._way(whole.upper(), whole) == "capitals"
    assert room._way("The old grey harbour", whole) == "no punctuation"
    assert room._way("The old, grey harbuor", whole) == "a spelling mistake"
    assert room._way("The old,", whole) == room._way(whole, whole) == ""


def test_a_planted_form_comes_first(words):
    found = room.run({"part": "query-variations", "options": {"deals": 1, "items": 60}}, "made", 3)
    assert found[room.FIRST][1] == 1.0 and room.ERROR not in found
    with pytest.raises(PartError, match="no option 'sets'"):
        room.run({"part": "query-variations", "options": {"sets": 2}}, "made", 0)


def test_hard_queries_are_not_taken_for_short_or_long_ones(words):
    found = room.run({"part": "query-length", "options": {"deals": 2, "items": 120}}, "made", 1)
    assert found[room.HARD][0] > found[room.HARD][1] == 0


def test_other_data_and_parts_are_refused():
    with pytest.raises(DataError, match="not 'coins'"):
        room.texts_of("coins")
    with pytest.raises(DataError, match="knows query-variations"):
        room.run({"part": "mmvp", "options": {}}, "docstrings", 0)
