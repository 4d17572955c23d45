"""RowDraws: equal however a batch is cut, and as random as they are taken for."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.draws import RowDraws

SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.lists(st.integers(0, 2**40), min_size=1, max_size=20), st.integers(1, 9), st.integers(0, 5), st.data())
@settings(max_examples=80, deadline=None)
def test_a_row_draws_the_same_in_any_company(seed, keys, width, stream, data):
    keys = torch.tensor(keys)
    cut = data.draw(st.integers(0, len(keys)))
    order = torch.tensor(data.draw(st.permutations(range(len(keys)))))
    whole = RowDraws(seed, keys).uniform(width, stream=stream)
    pieces = [RowDraws(seed, k).uniform(width, stream=stream) for k in (keys[:cut], keys[cut:])]
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(RowDraws(seed, keys[order]).uniform(width, stream=stream), whole[order])
    assert torch.equal(RowDraws(seed, keys).uniform(width + 3, stream=stream)[:, :width], whole)


@given(SEEDS, st.integers(1, 1000))
@settings(max_examples=60, deadline=None)
def test_draws_keep_their_range(seed, high):
    draws = RowDraws(seed, torch.arange(50))
    uniform, whole = draws.uniform(20), draws.integers(high, 20)
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert ((whole >= 0) & (whole < high)).all()


def test_draws_are_spread_evenly_and_independent_of_one_another():
    a = RowDraws(1, torch.arange(2000)).uniform(50)
    counts = torch.histc(a, bins=20, min=0, max=1) / a.numel()
    assert (counts - 0.05).abs().max() < 0.003
    others = (
        RowDraws(2, torch.arange(2000)).uniform(50),
        RowDraws(1, torch.arange(2000)).uniform(50, stream=1),
        RowDraws(1, torch.arange(2000) + 2000).uniform(50),
        a.roll(1, dims=0),
        a.roll(1, dims=1),
    )
    for b in others:
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.015
    whole = RowDraws(3, torch.arange(2000)).integers(7, 50)
    shares = torch.bincount(whole.flatten(), minlength=7) / whole.numel()
    assert (shares - 1 / 7).abs().max() < 0.006
