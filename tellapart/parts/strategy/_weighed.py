"""Losses of rows, each times a weight of its own: what the strategies that weigh items share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys
from tellapart.parts.strategy._proxies import against


def check_rows(run: Any, part: str) -> None:
    """Refuse an objective that gives one loss for all rows."""
    if run.chain.reduces:
        raise PartError(
            f"{part} weighs rows, and objective={run.recipe.objective} gives one loss for all of them: "
            "take infonce or cosface"
        )


def weighed_against(run: Any, z: Tensor, batch: Any, columns: Tensor, keys: Keys, weight: Tensor) -> Tensor:
    """As `against`, each row's loss times its weight [n]; the mean is over the rows, not over the weights."""
    objective = run.chain.objective

    def loss(enc: Encoded, **options: Any) -> Tensor:
        return objective(enc, **options) * enc.rows["weight"]

    other = replace(run, chain=replace(run.chain, objective=loss))
    found = against(other, z, batch, columns, keys, rows={"weight": weight})
    run.chain.asked = run.chain.asked or other.chain.asked
    return found
