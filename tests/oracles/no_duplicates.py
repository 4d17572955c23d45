"""Oracle: by brute force, no pair of a batch shares a group or a target, and no batch could hold more."""

from __future__ import annotations

import numpy as np

from tellapart.core.plan import SampleKeys

CASES: list[dict] = [{}]


def check(build, options: dict) -> None:
    """Collections with groups of 1 to 6, and one in which a single group is half of all."""
    rng = np.random.default_rng(0)
    ids = np.arange(60)
    cases = [rng.integers(20, size=60), np.where(ids < 30, 0, ids), ids]
    for group in cases:
        target = np.where(rng.random(60) < 0.1, 7, ids)
        plan = build(**options)(SampleKeys(ids, group, target), seed=4, epoch=0, batch_size=8)
        assert len(plan) == 60 // 8
        for rows in plan:
            for i in rows:
                for j in rows:
                    if i != j:
                        assert group[i] != group[j] and target[i] != target[j]
        kinds = _kinds(group, target)
        possible = sum(min(kinds.count(kind), len(plan)) for kind in set(kinds)) // len(plan)
        assert min(len(rows) for rows in plan) == min(8, possible)


def _kinds(group: np.ndarray, target: np.ndarray) -> list[int]:
    """The connected components of "shares a group or a target", by repeated sweeps."""
    kind = list(range(len(group)))
    changed = True
    while changed:
        changed = False
        for i in range(len(kind)):
            for j in range(len(kind)):
                if (group[i] == group[j] or target[i] == target[j]) and kind[i] != kind[j]:
                    kind[i] = kind[j] = min(kind[i], kind[j])
                    changed = True
    return kind
