"""What stands in the galleries of conditional similarity: one right picture, and wrong ones of two kinds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.parts.audit._conditions import episodes, places
from tellapart.parts.audit._conditions import tags as tagged

COLOURS, THINGS = ("red", "green", "blue", "yellow"), ("car", "house", "boat", "lamp")
TAGS = list(itertools.product(COLOURS, THINGS, range(4)))
GROUPS = np.arange(len(TAGS)) // 2


def collection(*, columns: bool) -> Collection:
    said = {"id": [f"i{i:02d}" for i in range(len(TAGS))], "group": GROUPS}
    if columns:
        return Collection.of(said | {"paint": [a for a, _, _ in TAGS], "what": [o for _, o, _ in TAGS]})
    return Collection.of(said | {"text": [f"an old {a} {o} by the road, number {i}" for a, o, i in TAGS]})


@pytest.mark.parametrize("mine", [0, 1])
@pytest.mark.parametrize("task", ["focus", "change"])
@pytest.mark.parametrize("columns", [True, False], ids=["columns", "captions"])
def test_a_gallery_has_one_right_picture_and_wrong_ones_of_two_kinds(columns: bool, task: str, mine: int) -> None:
    names, wrong = ("paint", "what") if columns else ("kind", "thing"), 3
    codes, values = tagged(collection(columns=columns), *(names if columns else ("", "")))
    name = names[mine]
    drawn = episodes(task, codes[name], codes[names[1 - mine]], name, values[name], GROUPS, most=30, wrong=wrong,
                     rng=np.random.default_rng(1))  # fmt: skip
    assert len(drawn.reference) == 30
    for row, gallery, said in zip(drawn.reference, drawn.gallery, drawn.words, strict=True):
        tag, other = TAGS[row][mine], TAGS[row][1 - mine]
        assert all(GROUPS[item] != GROUPS[row] for item in gallery) and len(set(gallery)) == 1 + 2 * wrong
        seen = [(TAGS[item][mine], TAGS[item][1 - mine]) for item in gallery]
        first, second = seen[1 : 1 + wrong], seen[1 + wrong :]
        if task == "change":
            assert seen[0] == (said, other) and said != tag
            assert all(a != said and o == other for a, o in first) and all(a == said and o != other for a, o in second)
        else:
            assert said == name and seen[0][0] == tag and seen[0][1] != other
            assert all(a != tag and o == other for a, o in first) and all(a != tag and o != other for a, o in second)


def test_places_count_ties_in_the_middle() -> None:
    assert places(np.array([[3.0, 1, 2], [1, 3, 2], [2, 2, 1], [1, 1, 1]])).tolist() == [1, 3, 1.5, 2]
