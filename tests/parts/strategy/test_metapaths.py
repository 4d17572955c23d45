"""Meta-paths of graphs too large for the oracle: hubs, shares, and what does not depend on the order of the links."""

from __future__ import annotations

import numpy as np

from tellapart.parts.strategy._metapaths import HUB, laid_out


def star(leaves: int) -> np.ndarray:
    """Everything linked to row 0 by relation 5."""
    rows = np.arange(1, leaves + 1)
    return np.stack([rows, np.zeros(leaves, int), np.full(leaves, 5)], 1)


def test_a_hub_joins_each_with_some_of_the_others():
    near, between = laid_out(star(1000), 1001, most=4, width=8, seed=3)
    assert near.shape == (1, 1001, 9) and between.shape == (1, 1001, 8)
    assert (near[0, 0, 1:] == -1).all() and (between[0, 1:, 0] == 0).all() and (between[0, :, 1:] == -1).all()
    for row in range(1, 1001):
        assert len({*near[0, row].tolist()}) == 9 and near[0, row].min() > 0 and near[0, row, 0] == row
    counts = np.bincount(near[0, 1:, 1:].ravel(), minlength=1001)
    assert counts[1:].min() > 0 and counts[1:].max() <= 16
    other, _ = laid_out(star(1000), 1001, most=4, width=8, seed=4)
    assert (other != near).any()


def test_a_group_below_the_limit_is_whole():
    near, _ = laid_out(star(HUB), HUB + 1, most=4, width=HUB, seed=0)
    assert all({*near[0, row].tolist()} - {-1} == {*range(1, HUB + 1)} for row in range(1, HUB + 1))


def test_order_and_repetition_of_links_change_no_neighbours():
    rng = np.random.default_rng(0)
    edges = np.stack([rng.integers(0, 50, 120), rng.integers(0, 50, 120), rng.integers(0, 3, 120)], 1)
    again = np.concatenate([edges, edges[:40]])[rng.permutation(160)]
    for one, other in zip(*(laid_out(e, 50, most=3, width=4, seed=1) for e in (edges, again)), strict=True):
        assert np.array_equal(one, other)


def test_a_relation_that_goes_both_ways_is_one_path():
    edges = np.array([[0, 2, 0], [2, 0, 0], [1, 2, 0], [2, 1, 0]])
    near, between = laid_out(edges, 3, most=9, width=2, seed=0)
    assert len(near) == 1 and near[0].tolist() == [[0, 1, -1], [1, 0, -1], [2, -1, -1]]
    assert between[0].tolist()[:2] == [[2, -1], [2, -1]] and sorted(between[0, 2].tolist()) == [0, 1]


def test_links_that_join_nothing_give_no_path():
    assert laid_out(np.array([[0, 1, 0], [2, 3, 0]]), 4, most=2, width=2, seed=0)[0].shape == (0, 4, 3)
