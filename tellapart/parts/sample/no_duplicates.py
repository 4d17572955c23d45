from __future__ import annotations

import itertools

import numpy as np

from tellapart.core.parts import part
from tellapart.core.plan import Plan, SampleKeys, generator


@part(
    paper="(plain baseline; the batch sampler `no_duplicates` of sentence-transformers)",
    place="pairs",
    traits=("disjoint",),
)
def no_duplicates(keys: SampleKeys, *, seed: int, epoch: int, batch_size: int) -> Plan:
    """No two rows of a batch share a duplicate group or a target, so that every other row is a negative.

    Rows are laid out group by group, groups in random order, and dealt like cards to `b = n // batch_size` batches:
    neighbours never meet, so a group of up to b rows is spread out completely. The surplus of a larger group, and what
    exceeds the batch size, waits for another epoch. O(n log n) time, O(n) memory, and the number of batches is b in
    every epoch.

    When to use: many near duplicates or several positives a query, with an objective that has no mask of its own.
    """
    n = len(keys)
    rng = generator(seed, epoch)
    if n <= batch_size:
        return [_distinct(rng.permutation(n), keys)]
    group = _joined(keys)
    batches = n // batch_size
    order = rng.permutation(n)
    order = order[np.argsort(rng.permutation(group.max() + 1)[group[order]], kind="stable")]
    starts = np.flatnonzero(np.r_[True, group[order][1:] != group[order][:-1]])
    place = np.arange(n) - np.repeat(starts, np.diff(np.r_[starts, n]))
    order = order[place < batches]
    dealt = [order[b::batches] for b in range(batches)]
    spare = min(len(rows) for rows in dealt)
    return [rng.permutation(rows)[: min(batch_size, spare)] for rows in dealt]


def _joined(keys: SampleKeys) -> np.ndarray:
    """[n] codes 0.. in which rows that share a group or a target (>= 0) share a code."""
    n = len(keys)
    parent = np.arange(n)

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for values in (keys.group, keys.target):
        order = np.argsort(values, kind="stable")
        for a, b in itertools.pairwise(order):
            if values[a] == values[b] and values[a] >= 0:
                parent[find(int(a))] = find(int(b))
    return np.unique([find(i) for i in range(n)], return_inverse=True)[1]


def _distinct(order: np.ndarray, keys: SampleKeys) -> np.ndarray:
    group = _joined(keys)[order]
    return order[np.sort(np.unique(group, return_index=True)[1])]
