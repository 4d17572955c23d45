"""The first hits of a search asked of an expensive scorer, which the run was not made with: `--rerank SCORER`."""

from __future__ import annotations

import numpy as np

from tellapart.core.banks import Vectors
from tellapart.core.collection import Sides
from tellapart.core.hits import Hits
from tellapart.engine.reorder import Chain
from tellapart.engine.scorers import Reading, check_scorers

BUDGET = 100
TOLD = (
    "The first {} of the order by {} were scored by {}, which gives the order; the others stand below. Such a score "
    "has a range of its own and no probability."
)
MIXED = (
    "a scorer reads one query and one item: rerank what is asked for by {} alone, or leave --rerank (rerank=) or the "
    "rest out"
)
WEIGHTS = "learned weights alone are not scored again: rerank with hybrid and sparse, or without sparse"


def rescored(
    spec: str, budget: int, sides: Sides, z: np.ndarray, near: Hits, vectors: Vectors, reading: Reading
) -> tuple[Hits, str]:
    """(hits in the order of a scorer, the rank part that gave it).

    Args:
        spec: of the scorer, see `engine.scorers.open_scorer`.
        budget: how many of the hits it is asked about.
        z: [d] the query.
        vectors: from ids to the vectors of items, for the scorer `tokens`.

    Raises:
        PartError: there is no such scorer, or it cannot read these items.
    """
    chain = Chain(f"rerank(scorer={spec!r}, calls={budget})")
    check_scorers(chain.spec, sides)
    chain.parts[0].fit(z[None])
    return chain.rank(z[None], near, vectors, reading=reading), chain.spec
