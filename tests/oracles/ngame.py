"""Oracle: the cuts searched in plain loops, the doubling written down, and batches put together cluster by cluster."""

from __future__ import annotations

import itertools

import numpy as np

from tellapart.core.plan import SampleKeys

CASES: list[dict] = [{}, {"cluster_size": 8, "start": 0, "refresh": 3}, {"cluster_size": 3, "start": 2, "refresh": 1}]


def check(build, options: dict) -> None:
    """Far apart clusters at every scale, which any right clustering finds; the size of each epoch's is known."""
    start, refresh, largest = options.get("start", 1), options.get("refresh", 2), options.get("cluster_size", 16)
    n, batch_size = 96, 24
    keys = _keys(n)
    part = build(**options)
    for epoch in range(start + 5 * refresh):
        plan = part(keys, seed=0, epoch=epoch, batch_size=batch_size)
        assert sorted(int(row) for rows in plan for row in rows) == list(range(n))
        assert [len(rows) for rows in plan] == [batch_size] * 4
        if epoch < start:
            assert _whole(plan, keys.query, 2) < 0.5, "batches before `start` must be random"
            continue
        size, doublings = 1, 1 + (epoch - start) // refresh
        for _ in range(doublings):
            size *= 2
        size = min(size, largest)
        if batch_size % size == 0:
            assert _whole(plan, keys.query, size) == 1, f"epoch {epoch}: clusters of {size} are torn apart"
        if size < largest and batch_size % (2 * size) == 0:
            assert _whole(plan, keys.query, 2 * size) < 1, f"epoch {epoch}: clusters of {size} are too large"
    _check_cuts(build, options)


def _keys(n: int) -> SampleKeys:
    """A line on which rows lie in pairs, pairs in fours, fours in eights, and so on, at growing distances."""
    ids = np.random.default_rng(3).permutation(n)
    place = np.array([sum((i // 2**level) * 4.0**level for level in range(7)) for i in range(n)])
    line = np.zeros((n, 2), np.float32)
    line[ids, 0] = (place / place.max() * 1000).astype(np.float32)
    rows = np.arange(n)
    return SampleKeys(rows, rows, rows, line, line)


def _whole(plan, line: np.ndarray, size: int) -> float:
    """Share of the clusters of `size` neighbours on the line that stand in one batch, by loops."""
    batch_of = {int(row): number for number, rows in enumerate(plan) for row in rows}
    along = sorted(range(len(line)), key=lambda row: line[row, 0])
    groups = [along[i : i + size] for i in range(0, len(along), size)]
    return sum(len({batch_of[row] for row in group}) == 1 for group in groups) / len(groups)


def _check_cuts(build, options: dict) -> None:
    """Six rows, batches of a cluster each: the best balanced halves of all that there are, tried one by one."""
    size, first = 3, (options or {}).get("start", 1)
    if options.get("cluster_size", 16) < 3:
        return
    for seed in range(5):
        rng = np.random.default_rng(seed)
        near = np.array([0, 0, 0, 1, 1, 1])[rng.permutation(6)]
        z = (5 * np.eye(2)[near] + rng.normal(size=(6, 2))).astype(np.float32)
        rows = np.arange(6)
        part = build(cluster_size=size, start=first, refresh=1)
        plan = part(SampleKeys(rows, rows, rows, z, z), seed=seed, epoch=first + 1, batch_size=size)
        costs = {}
        for half in itertools.combinations(range(6), 3):
            rest = [i for i in range(6) if i not in half]
            costs[half] = sum(float(((z[i] - z[list(side)].mean(0)) ** 2).sum()) for side in (half, rest) for i in side)
        found = tuple(sorted(int(row) for row in plan[0]))
        assert abs(costs[found] - min(costs.values())) < 1e-4
