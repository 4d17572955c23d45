"""Shares of planted looks, counted; a look is rare against how common the looks of the others are."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"rare": 0.02}, {"rare": 0.6}]
SIZES = {0: (150, 6, 9), 1: (40, 40, 41), 2: (80, 60, 8)}


def check(build, options):
    rare = options.get("rare", 0.1)
    for seed, sizes in SIZES.items():
        rng, look = np.random.default_rng(seed), []
        for which, size in enumerate(sizes):
            look += [which] * size
        order = rng.permutation(len(look))
        look = [look[i] for i in order]
        z = np.eye(8)[look] + 0.04 * rng.normal(size=(len(look), 8))
        pictures = Collection.of({
            "id": [f"i{i}" for i in range(len(look))],
            "image": [f"{i}.png" for i in order],
            "label": ["thing"] * len(look),
        })  # fmt: skip
        found = build(**options)({"document": z.astype(np.float32) * 7}, pictures, seed=0)
        share = [look.count(each) / len(look) for each in look]
        usual = sum(share) / len(share)
        expected = {f"i{i}": p for i, p in enumerate(share) if p <= rare * usual}
        proposed = found.proposed().rows()
        assert {row["item"] for row in proposed} == set(expected)
        for row in found.rows():
            assert row["score"] == pytest.approx(1 - share[int(row["item"][1:])], abs=1e-6) and row["action"] == "look"
        for row in proposed:
            assert f"{expected[row['item']]:.1%} of the items" in row["reason"]
    texts = Collection.of({"text": [f"text {i}" for i in range(80)], "label": ["thing"] * 80})
    with pytest.raises(DataError, match="looks are of pictures"):
        build(**options)({"document": np.ones((80, 3))}, texts)
