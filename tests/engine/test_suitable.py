"""What fits which data is read off the cards, and what does not fit is refused with the names of what does."""

from __future__ import annotations

import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.parts import cards
from tellapart.engine.compatible import check_together
from tellapart.engine.suitable import LABELS, NEEDS, SHAPES, fitting, grid, has, needs
from tellapart.recipe import Recipe

PAIRS = Collection.of({"anchor": ["a b", "c d", "e f"], "positive": ["b a", "d c", "f e"]})
LABELLED = Collection.of({"text": ["a", "b", "c", "d"], "label": ["x", "x", "y", "y"]})
NUMBERED = PAIRS.with_column("score", [1.0, 2.0, 3.0])


def test_what_a_collection_has() -> None:
    assert (
        has(PAIRS) == {"two-sides", "texts"}
        and has(LABELLED) == {"views", "labels"}
        and has(NUMBERED) == {"two-sides", "texts", "scores"}
    )
    assert "negatives" in has(PAIRS.with_column("negative", ["x", None, "y"]))


def test_the_grid_names_every_part_once_where_it_needs_least() -> None:
    listed = [(card.name, inputs, labels) for inputs, labels, new in grid() for card in new]
    names = [name for name, _, _ in listed]
    assert set(names) == {name for shape in SHAPES for name in cards(shape)}
    place = {name: (inputs, labels) for name, inputs, labels in listed}
    assert place["infonce"] == ("any", "") and place["hydra-pairs"] == ("any", "labels")
    assert place["supremix"] == ("any", "numbers") and place["meow"] == ("nodes and links", "")
    assert place["multi-view"] == ("one column", "")
    assert place["villa"] == ("pictures with captions", "") and set(LABELS) == {labels for _, _, labels in listed}


def test_more_data_fit_more() -> None:
    some, more = fitting(has(PAIRS)), fitting(has(NUMBERED))
    assert {card.name for card in more} - {card.name for card in some} >= {"supremix"}
    assert all(set(needs(card)) <= set(NEEDS) for card in more)


@pytest.mark.parametrize(
    ("made", "change", "words"),
    [
        (PAIRS, {"strategy": "supremix"}, "strategy=supremix needs a number with every item"),
        (PAIRS, {"strategy": "hydra-pairs"}, "strategy=hydra-pairs needs labels that several items share"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(made: Collection, change: dict[str, str], words: str) -> None:
    with pytest.raises(PartError, match=words) as refused:
        check_together(made, Recipe().but(**change))
    assert "momentum-queue" in str(refused.value) and "meow" not in str(refused.value).split("What fits")[1]
    check_together(NUMBERED, Recipe().but(strategy="supremix"))
