"""How many nats a task needs, on tasks that are made harder or easier on purpose, and at chances that can be counted.

Data: `digits` and `fashion` (frozen features), a third of the items to learn from beforehand, the rest for the audit.

- `error in nats, at a chance of 0.025`: of 10,000 hypotheses, how low the best 2.5% go; the audit of 100 others should
  say -log 0.025 there. The baseline puts a normal distribution with the median and the spread of the same 100.
- `nats needed, with noise beside`: 8 principal directions, against the same with 32 numbers of noise as wide.
- `nats needed, of 32 directions`: against 4 principal directions of the same items.
- `less needed, by features that know`: the features, against what a ridge regression makes of them that saw the labels
  of the third; the baseline is the features, and less is better.

Target: a tenth of the mean label's squared error. Options: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.features import unit_rows
from tellapart.core.linear import ridge_map
from tellapart.core.needs import require
from tellapart.core.parts import make
from tellapart.core.report import Report
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("error", "less")
MANY, FEW, TARGET = 10_000, 100, 0.1


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    norm = require("scipy.stats", "the protocol inductive-bias").norm
    known, held = _sets.split(_sets.load(data), seed, (0.34, 0.66))
    rng = np.random.default_rng([seed, 1])
    collection = Collection.of({"id": [f"i{i}" for i in range(len(held.y))], "label": [str(v) for v in held.y]})

    def ask(x: np.ndarray, **options: Any) -> Report:
        report: Report = make("audit", spec["part"], **options)({"document": x}, collection, seed=seed)
        return report

    def nats(x: np.ndarray) -> float:
        return ask(x, target=TARGET).figure("inductive bias, document").value

    x = held.x.astype(np.float64)
    middle = known.x.mean(axis=0)
    turn = np.linalg.svd(known.x - middle, full_matrices=False)[2].T
    low = ask(x, hypotheses=MANY).figure("loss, document").low
    few = ask(x, hypotheses=FEW, target=low)
    seen = few.figure("loss, document")
    spread = (float(seen.high or 0) - float(seen.low or 0)) / (2 * 1.96)
    right = -math.log(0.025)
    plain = -float(norm.logcdf(((low or 0) - seen.value) / spread))
    told = few.figure("inductive bias, document").value
    eight = (x - middle) @ turn[:, :8]
    noise = rng.normal(size=(len(x), 32)) * eight.std(axis=0).mean()
    classes, codes = np.unique(known.y, return_inverse=True)
    knows = ridge_map(unit_rows(known.x.astype(np.float64)), np.eye(len(classes))[codes], 0.1)(unit_rows(x))
    whole = nats(x)
    return {
        "error in nats, at a chance of 0.025": (abs(plain - right), abs(told - right)),
        "nats needed, with noise beside": (nats(eight), nats(np.concatenate([eight, noise], axis=1))),
        "nats needed, of 32 directions": (nats((x - middle) @ turn[:, :4]), nats((x - middle) @ turn[:, :32])),
        "less needed, by features that know": (whole, nats(knows)),
    }
