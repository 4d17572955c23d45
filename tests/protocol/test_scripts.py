"""The protocol of scripts: what is written in which, and a script that is not read is told from those that are."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.parts.audit._queries import script
from tellapart.protocol import scripts as room


@pytest.fixture
def words(monkeypatch):
    rng = np.random.default_rng(0)
    texts = sorted({" ".join("".join(rng.choice(list("abcdefgxyz"), 5)) for _ in range(4)) for _ in range(320)})
    monkeypatch.setattr(room, "texts_of", lambda data: texts)


def test_texts_are_in_the_script_they_are_said_to_be_in(words):
    texts, kinds = room.written("made", 200, np.random.default_rng(1))
    foreign = [room._in(text, room.LETTERS[kind]) for text, kind in zip(texts, kinds, strict=True)]
    assert [script(text) for text in foreign] == kinds
    assert np.allclose(room.counted(texts, 0), room.counted(foreign, 0)), "what is read is the same in any script"
    assert [kinds.count(kind) for kind in room.LETTERS] == [80, 60, 30, 20, 10]


def test_a_script_that_is_not_read_is_clear_and_others_are_not(words):
    found = room.run({"part": "query-languages", "options": {"deals": 2, "items": 300}}, "made", 0)
    assert found[room.FIRST][1] == found[room.CLEAR][1] == 1 and found[room.CALLED][1] == 0
    with pytest.raises(PartError, match="no option 'sets'"):
        room.run({"part": "query-languages", "options": {"sets": 1}}, "made", 0)
    with pytest.raises(DataError, match="not mmvp"):
        room.run({"part": "mmvp", "options": {}}, "made", 0)
