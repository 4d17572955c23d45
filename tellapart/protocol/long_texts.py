"""Encoders of long texts, by the audit `longembed`: pass keys at known depths of texts made of WordNet glosses.

The baseline reads the first 512 tokens and no more (`minilm(max_tokens=512)`). Both encode the same texts with the same
questions; a text of 256 words has about 340 tokens, which both read whole.

Metrics: `found first, N words`, the share of questions whose text comes first among all of its length, for each length.
For `parallel-windows` also `… , best window`: the text's windows compared one by one (MaxSim), against the baseline.

Data: `wordnet`. Options: shortest (256), lengths (3), depths (4), texts (4), as of the audit; items (4000) glosses.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make, parse_spec
from tellapart.core.report import Figure
from tellapart.data import shipped
from tellapart.engine.reading import Reader


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one seed."""
    if data != "wordnet":
        raise DataError(f"the protocol long_texts knows wordnet, not {data!r}")
    options = dict(spec["options"])
    glosses = _glosses(options.pop("items", 4000))
    asked = {"shortest": 256, "lengths": 3, "depths": 4, "texts": 4, "column": "gloss", **options}

    def found(encoder: str, *, several: bool = False) -> dict[str, float]:
        reader = Reader(make("encode", encoder), several=several)
        report = make("audit", "longembed", **asked)({"encoder": reader}, glosses, seed=seed)
        return {block.name: block.value for block in report.blocks if isinstance(block, Figure)}

    baseline, variant = found(spec["baseline"]), found(spec["part"])
    figures = {name: (baseline[name], variant[name]) for name in baseline}
    if parse_spec(spec["part"])[0] == "parallel-windows":
        best = found(spec["part"], several=True)
        figures |= {f"{name}, best window": (baseline[name], best[name]) for name in baseline}
    return figures


@functools.cache
def _glosses(items: int) -> Collection:
    whole = shipped.wordnet()
    return whole.take(np.linspace(0, len(whole) - 1, items).astype(int))
