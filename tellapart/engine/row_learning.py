"""Vectors of a table's rows that were learnt on the table itself: from spoilt copies of rows and a few known pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import card_of, parse_spec
from tellapart.core.progress import Stages
from tellapart.data.known_pairs import KnownPairs
from tellapart.engine.links import Pairs, components
from tellapart.recipe import Recipe

FIELDS = {
    "augment": "spoil-row", "objective": "infonce(temperature=0.1)", "head": "residual-head", "epochs": 20,
    "batch_size": 128,
}  # fmt: skip
FEWEST = 4


def recipe_of(strategy: str, text: str) -> Recipe:
    """What learns: a strategy of altered copies above a frozen encoder.

    Raises:
        PartError: a strategy that compares no altered copies.
    """
    card = card_of("strategy", parse_spec(strategy)[0])
    if "views" not in card.traits:
        raise PartError(f"--learn {strategy} does not learn from spoilt copies of rows: take table-integration")
    return Recipe.of({**FIELDS, "strategy": strategy, "text": text})


def learnt(
    tables: Sequence[Collection],
    recipe: Recipe,
    entity: np.ndarray,
    *,
    cache: Path,
    stages: Stages,
    seed: int = 0,
) -> list[np.ndarray]:
    """[n, d] unit vectors of the texts of each table, by one head that learnt on all of them.

    Args:
        entity: [rows of all tables] numbers, equal where rows are known to be the same thing.

    Raises:
        DataError: too few rows to tell apart.
    """
    from tellapart.engine.fit import fit
    from tellapart.engine.prepare import features, train_data

    texts = [str(text or "") for table in tables for text in table.values("text")]
    if len(texts) < FEWEST:
        raise DataError(f"{len(texts)} rows are too few to learn from; leave --learn out")
    ids = [f"{number}" for number in range(len(texts))]
    every = Collection.of(
        {"id": ids, "text": texts, "label": [str(e) for e in entity.tolist()], "group": entity.tolist()}
    )
    vectors = features(every, recipe, cache=cache, stages=stages)
    with stages.stage("learn from the rows") as told:
        fitted = fit(recipe, train_data(every, vectors, recipe), seed=seed, progress=told)
    made = fitted.encode("query", np.asarray(vectors["query"]))
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return np.split(made, ends)


def halves(known: KnownPairs | None, total: int, offset: int) -> tuple[np.ndarray, KnownPairs | None]:
    """([total] entity of each row, equal for the known pairs that may be learnt from; those that are left to judge by).

    What belongs together, directly or through others, stays together; half of it is learnt from, drawn at random.

    Args:
        offset: what is added to rows of the second table.

    Raises:
        DataError: too few known pairs for two halves.
    """
    if known is None:
        return np.arange(total), None
    linked = [(a, b + offset) for a, others in known.matches.items() for b in others]
    a, b = (np.asarray([pair[side] for pair in linked], np.int64) for side in (0, 1))
    number = components(total, Pairs(a, b, np.ones(len(a))))
    things = np.unique(number[a])
    if len(things) < 2:
        raise DataError("half of the known pairs is learnt from and half judges: give pairs of two things at least")
    mine = np.random.default_rng(0).permutation(things)[: len(things) // 2]
    entity = np.where(np.isin(number, mine), number, total + np.arange(total))
    _, entity = np.unique(entity, return_inverse=True)
    left = {row: others for row, others in known.matches.items() if number[row] not in mine}
    wrong = [pair for pair in known.wrong if number[pair[0]] not in mine]
    return entity.reshape(-1).astype(np.int64), KnownPairs(left, wrong)
