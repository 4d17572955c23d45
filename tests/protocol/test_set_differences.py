"""The protocol of differences in words: sets that are planted, and which phrases count as the planted one."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.core.phrases import phrases_of
from tellapart.protocol import set_differences as room


def encode(texts):
    return np.array([[zlib.crc32(t.encode()) % 97, 50.0, len(t)] for t in texts])


def made(count):
    rng = np.random.default_rng(0)
    captions = [" ".join(["old", "house"] * (rng.random() < 0.25) + rng.choice(list("pqrstuvw"), 4).tolist())
                for _ in range(count)]  # fmt: skip
    return room.Items(rng.normal(size=(count, 3)), captions, phrases_of(captions, longest=2, least=5), encode)


def test_phrases_of_nearly_the_same_items_count_as_the_planted_one():
    held = made(400)
    word = held.phrases.names.index("old house")
    assert room.place_of(held, word, ["p", "house", "old"]) == 2
    assert room.place_of(held, word, ["p", "nobody"]) == 1000


def test_the_second_set_has_no_item_with_the_word():
    held = made(800)
    word = held.phrases.names.index("old house")
    rows, inside = room.planted(held, word, 100, np.random.default_rng(1))
    has = held.phrases.has(word)[rows]
    assert len(rows) == 200 and len(set(rows.tolist())) == 200
    assert not has[~inside].any() and 0.6 <= has[inside].mean() <= 1


def test_a_planted_phrase_is_found(monkeypatch):
    held = made(700)
    monkeypatch.setattr(room, "items", lambda data: held)
    monkeypatch.setattr(room, "words", lambda held, rng: [held.phrases.names.index("old house")])
    found = room.run({"part": "set-differences", "options": {"clean": 2, "size": 120}}, "made", 0)
    assert found["planted word in the first three"][1] == 1 and found[room.CALLED][1] < 1
    with pytest.raises(PartError, match="no option 'sets'"):
        room.run({"part": "set-differences", "options": {"sets": 3}}, "made", 0)


def test_other_data_are_refused():
    with pytest.raises(DataError, match="not 'coins'"):
        room.items("coins")
