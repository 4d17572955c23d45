"""What a network learns from wrongly labelled items that were moved towards their wrong class.

Data: `digits` (pixels) and `fashion` (EfficientNet-Lite0 features). Metrics, of the part's figures on held-out items:
`right, against noise` and `right, against shuffled` (the controls are the baseline), and `agreement, width 256 against
16` (with the network that was trained on right labels; 16 is the baseline).

Options (`[options]` of the spec): items: (1000); size: (1.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.parts import make
from tellapart.protocol import _sets

WIDTHS = (16, 256)
AGREES = "agrees with the clean network"


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    held = _sets.load(data)
    rows = np.random.default_rng(np.random.SeedSequence([seed, 31])).permutation(len(held.x))
    held = held.take(rows[: spec["options"].get("items", 1000)])
    columns = {"id": [f"i{i:04d}" for i in range(len(held.x))], "label": [str(v) for v in held.y]}
    collection = Collection.of(columns).with_column("group", held.group.tolist())
    narrow, wide = (
        make("audit", spec["part"], width=width, size=spec["options"].get("size", 1.0))(
            {"image": held.x}, collection, seed=seed
        )
        for width in WIDTHS
    )
    right = wide.figure("right, perturbed").value
    return {
        "right, against noise": (wide.figure("right, noise").value, right),
        "right, against shuffled": (wide.figure("right, shuffled").value, right),
        "agreement, width 256 against 16": (narrow.figure(AGREES).value, wide.figure(AGREES).value),
    }
