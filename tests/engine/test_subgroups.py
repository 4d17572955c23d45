"""Subgroups by a column and by words of captions."""

from __future__ import annotations

import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.engine.subgroups import subgroups

MADE = Collection.of({"caption": ["A duck, on Water.", "deep grass", "watery", None], "tone": ["b", "a", None, "b"]})


def test_the_first_keyword_that_a_caption_has_is_its_subgroup():
    assert subgroups(MADE, "group-dro(keywords='grass|on water')").tolist() == [2, 1, 0, 0]
    assert subgroups(MADE, "group-dro").tolist() == [0, 0, 0, 0]


def test_values_of_a_column_are_subgroups():
    assert subgroups(MADE, "group-dro(column='tone')").tolist() == [1, 0, -1, 1]


def test_what_is_not_there_is_refused():
    with pytest.raises(DataError, match="no column 'sort'"):
        subgroups(MADE, "group-dro(column='sort')")
    with pytest.raises(DataError, match="captions"):
        subgroups(Collection.of({"image": ["a.png"]}), "group-dro(keywords='grass')")
