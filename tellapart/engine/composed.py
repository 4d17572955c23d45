"""Composed queries, a reference and a change in words: what training is told, how they are encoded, figures.

For recipes whose strategy has the trait `composed`. What is searched is then every picture of the collection, each
once, references included (`data.composed.gallery`), and a query's own reference is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.composing import Composer
from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, parse_spec
from tellapart.data.composed import composed, gallery, picture_codes, question_codes
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.recipe import Recipe

Encode = Callable[[str, np.ndarray], np.ndarray]
FIRST, TEN, ALL, ITSELF = "R@1", "R@10", "R@10 of all right pictures", "the reference itself comes first"
AT_ONCE = 256


def composes(recipe: Recipe, collection: Collection) -> bool:
    """Whether the recipe's strategy learns to join a reference and a change in words; one that fuses does it where
    there are references."""
    traits = card_of("strategy", parse_spec(recipe.strategy)[0]).traits
    return "composed" in traits or ("fusion" in traits and composed(collection))


def with_gallery(
    collection: Collection, documents: Collection | None, *recipes: Recipe
) -> tuple[Collection, Collection | None]:
    """The collection and what is searched: all its pictures, where one of the recipes composes and they do not stand
    apart already.

    Raises:
        PartError: a recipe that composes, and no references.
    """
    composing = next((recipe for recipe in recipes if composes(recipe, collection)), None)
    if composing is None or documents is not None:
        return collection, documents
    if not composed(collection):
        raise PartError(
            f"strategy={composing.strategy} learns from a reference picture and what is to change: give columns "
            f"`other_image`, `text` and `image` (the picture that comes out); here are {', '.join(collection.columns)}"
        )
    return gallery(collection)


def told(collection: Collection) -> dict[str, np.ndarray]:
    """What a strategy is told beside vectors, as `TrainData.extra`.

    `pictures` [n, 2]: numbers of target and reference, -1 for none; `asked` [n]: equal for one reference and equal
    words; `answers` [questions, most]: the pictures that training gives as answers, -1 as filling; `picture_group`
    [pictures]: the duplicate group of a target, -1 for what is a reference alone.
    """
    pictures = picture_codes(collection)
    asked = question_codes(collection, pictures)
    sets: list[dict[int, None]] = [{} for _ in range(int(asked.max()) + 1)]
    for question, picture in zip(asked.tolist(), pictures[:, 0].tolist(), strict=True):
        sets[question][picture] = None
    answers = np.full((len(sets), max(map(len, sets))), -1, np.int64)
    for row, found in enumerate(sets):
        answers[row, : len(found)] = list(found)
    group = np.full(int(pictures.max()) + 1, -1, np.int64)
    if "group" in collection.columns:
        group[pictures[:, 0]] = collection.numbers("group")
    return {"pictures": pictures, "asked": asked, "answers": answers, "picture_group": group}


def composing(
    encode: Encode, composer: Composer, reference: Callable[[np.ndarray], np.ndarray], change: Encode | None = None
) -> Encode:
    """An encoder whose queries are composed.

    Args:
        encode: (side, rows) -> [n, d] vectors, of the sides alone.
        reference: rows -> what the composer takes of their references, NaN where there is none: vectors under the tower
            of the documents, or the features below it.
        change: the same of words, by side and rows; None: their vectors.
    """

    def together(side: str, rows: np.ndarray) -> np.ndarray:
        return composer(reference(rows), (change or encode)(side, rows)) if side == "query" else encode(side, rows)

    return together


def figures(q: np.ndarray, z: np.ndarray, relevant: Relevant, own: np.ndarray) -> dict[str, np.ndarray]:
    """[n] by figure, for composed queries among all pictures.

    `R@1` and `R@10` are whether a right picture is among the first, `R@10 of all right pictures` is the share of them
    that is; for these the query's own reference is left out. The last is whether it would have come first.

    Args:
        q, z: [n, d] and [m, d].
        relevant: the right pictures of every query, by row of `z`.
        own: [n] row of the reference, -1 where there is none.
    """
    itself = (np.where(own < 0, len(z), own), np.arange(len(z)))
    found: dict[str, Any] = retrieval(q, z, relevant, ids=itself, own="exclude")
    first = np.concatenate([(q[at : at + AT_ONCE] @ z.T).argmax(1) for at in range(0, len(q), AT_ONCE)])
    return {
        FIRST: found["Success@1"],
        TEN: found["Success@10"],
        ALL: found["R@10"],
        ITSELF: np.where(own < 0, np.nan, first == own),
    }
