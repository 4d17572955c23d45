"""Chances of cues against chances of dealt ones; what a picture measures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.core import cues
from tellapart.core.collection import Collection
from tellapart.core.picture_cues import COLOURS, colour_name, measures, picture_cues


def test_together_is_the_chance_of_dealt_cues() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 150)
    codes, agrees = rng.integers(0, 4, 150), rng.random((3, 4)) < 0.4
    codes[:20] = agrees[y[:20]].argmax(axis=1)
    hits = agrees[y, codes].sum()
    dealt = np.array([agrees[y, rng.permutation(codes)].sum() for _ in range(4000)])
    assert cues.together(codes, y, agrees) == pytest.approx((dealt >= hits).mean(), abs=0.01)


def test_agreement_is_no_larger_than_chance_within_classes() -> None:
    """A class that is easy and mostly agrees says nothing, however large the difference over all."""
    rng = np.random.default_rng(1)
    low = 0
    for _ in range(200):
        strata = rng.integers(0, 2, 200)
        agree = rng.random(200) < np.where(strata, 0.9, 0.3)
        right = (rng.random(200) < np.where(strata, 0.95, 0.4)).astype(float)
        found = cues.agreement(right, agree, strata)
        assert found is not None and found.low <= found.value <= found.high
        assert found.parts.mean() == pytest.approx(found.value)
        low += found.p < 0.05
    assert low <= 16
    assert cues.agreement(np.ones(20), np.arange(20) < 4, np.zeros(20, int)) is None


def test_usual_is_what_a_class_has_beyond_the_others() -> None:
    codes = np.array([0, 0, 0, 1, 0, 0, 1, 1, 2])
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    beyond = cues.usual(codes, y, 3, 4)
    assert beyond[0] == pytest.approx([3 / 4 - 5 / 9, 1 / 4 - 3 / 9, -1 / 9, 0])
    assert (beyond[1] > 0).tolist() == [False, True, True, False] and not beyond[2].any()


def test_columns_of_few_values_are_cues() -> None:
    n = 60
    made = Collection.of({
        "id": [str(i) for i in range(n)], "split": ["train", "test"] * 30, "note": [f"n{i}" for i in range(n)],
        "kind": ["a", "b"] * 30, "rare": ["x"] * 52 + ["y"] * 8, "tags": [["a"]] * n, "gap": [None, "c", "d"] * 20,
    })  # fmt: skip
    found = {cue.name: cue for cue in cues.of_columns(made)}
    assert set(found) == {"kind", "gap"}
    assert found["gap"].values == ["(empty)", "c", "d"]
    assert set(cues.of_columns(made, but=["gap"])[0].take(np.arange(4)).codes) == {0, 1}


def test_duplicates_are_one() -> None:
    assert cues.one_of_each(np.array([5, 5, 2, 7, 2])).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((255, 0, 0), "red"), ((250, 250, 250), "white"), ((120, 120, 122), "grey"), ((10, 9, 8), "black"),
     ((120, 70, 20), "brown"), ((30, 60, 220), "blue"), ((250, 230, 40), "yellow"), ((30, 160, 60), "green")],
)  # fmt: skip
def test_colours_have_names(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(np.array(rgb, float)) == name
    assert name in COLOURS


def test_a_picture_is_measured_by_what_is_on_it() -> None:
    picture = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(picture).rectangle((8, 40, 55, 55), fill="navy")
    said = measures(picture)
    assert (said["ground"], said["colour"]) == ("white", "blue")
    assert said["size"] == pytest.approx(48 * 16 / 96**2, abs=0.01)
    assert said["place across"] < 18 and said["shape"] > 0.9 and said["texture"] == 0
    empty = measures(Image.new("RGBA", (30, 20), (0, 0, 0, 0)))
    assert empty["colour"] == "" and np.isnan(empty["size"])
    same = picture_cues([picture] * 40, range(40))
    assert same == []
