"""Units that tell a concept apart by kinds of their own, planted among units that do not."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.report import Table

CASES: list[dict] = [{}, {"by": "kind", "concept": "yes", "latents": 16, "sparsity": 0.1, "examples": 30}]


def check(build, options):
    rng = np.random.default_rng(0)
    n, by = 120, options.get("by", "label")
    yes = np.arange(n) % 2 == 0
    # Every unit takes one of four forms; units 1 and 4 have forms that only the concept has.
    forms = 4 * rng.normal(size=(8, 6))
    which = rng.integers(0, 4, size=(n, 6))
    which[:, [1, 4]] += 4 * yes[:, None]
    a = forms[which] + 0.2 * rng.normal(size=(n, 6, 6))
    names = np.where(yes, "yes", "no")
    collection = Collection.of({"id": [f"i{i:03d}" for i in range(n)], by: names.tolist()})
    for given in ({"units": a}, {"document": a.reshape(n, 36)}):
        report = build(**{**options, "groups": 6, "concept": "yes"})(given, collection, seed=0)
        table = next(block for block in report.blocks if isinstance(block, Table))
        assert {row[0] for row in table.rows[:2]} == {1, 4} and report.figure("units in the circuit").value == 2
        assert [row[3] for row in table.rows] == ["in the circuit"] * 2 + [""] * 4
        assert table.rows[1][1].value > 0.4 > 0.2 > table.rows[2][1].value
        assert report.facts["items"] == 2 * min(60, options.get("examples", 200))
    none = np.random.default_rng(1).permutation(names)
    shuffled = Collection.of({"id": [f"i{i:03d}" for i in range(n)], by: none.tolist()})
    assert (
        build(**{**options, "concept": "yes"})({"units": a}, shuffled, seed=0).figure("units in the circuit").value == 0
    )
