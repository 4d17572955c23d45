"""Composed queries by several recipes: as the protocol `composed`, and the variant against further ones.

Data and metrics are those of `composed`, and for each control `R@1`, `R@10` and `R@10 of all right pictures` of the
variant against it, and of it against the baseline; every control chooses among its options by R@1 on the validation
part, as baseline and variant do.

Options (`[options]` of the spec): those of `composed`, and `controls.NAME`: fields of a further recipe.
"""

from __future__ import annotations

from typing import Any

from tellapart.engine.composed import ALL, FIRST, TEN
from tellapart.protocol import composed

LOWER_IS_BETTER = composed.LOWER_IS_BETTER

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    found: Figures = composed.run(spec, data, seed)
    options = spec["options"]
    for name, fields in options.get("controls", {}).items():
        other = composed.chosen(data, seed, options, fields)
        for metric in (FIRST, TEN, ALL):
            found[f"{metric}, against {name}"] = other[metric], found[metric][1]
            found[f"{metric}, {name} against the baseline"] = found[metric][0], other[metric]
    return found
