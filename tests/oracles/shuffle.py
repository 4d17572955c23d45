"""Oracle: a shuffle is a permutation cut into whole batches."""

from __future__ import annotations

import numpy as np

from tellapart.core.plan import SampleKeys

CASES: list[dict] = [{}]


def check(build, options: dict) -> None:
    """Against the definition, for several sizes."""
    for n, batch_size in ((10, 3), (12, 4), (5, 8)):
        ids = np.arange(n)
        plan = build(**options)(SampleKeys(ids, ids, ids), seed=1, epoch=2, batch_size=batch_size)
        expected = 1 if n < batch_size else n // batch_size
        assert len(plan) == expected
        seen: set[int] = set()
        for rows in plan:
            assert len(rows) == min(batch_size, n)
            for row in rows:
                assert row not in seen
                seen.add(int(row))
