"""Shared mathematics against plain sums, also where floats end."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.maths import (
    pairwise_sum,
    positive_mean,
    positives,
    scores_and_logsumexp,
    softplus,
    weighted_logsumexp,
    weighted_sum,
)

SCORE = st.floats(-1, 1, width=32)
WEIGHT = st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0])


def matrix(elements, rows, columns):
    return st.lists(st.lists(elements, min_size=columns, max_size=columns), min_size=rows, max_size=rows)


@st.composite
def scored(draw):
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    return draw(matrix(SCORE, rows, columns)), draw(matrix(WEIGHT, rows, columns))


def plain_logsumexp(scores, weights, temperature):
    terms = [(x / temperature, w) for x, w in zip(scores, weights, strict=True) if w > 0]
    if not terms:
        return -math.inf
    top = max(x for x, _ in terms)
    return top + math.log(sum(w * math.exp(x - top) for x, w in terms))


@settings(max_examples=150, deadline=None)
@given(scored(), st.sampled_from([0.004, 0.07, 1.0]), st.sampled_from([torch.float32, torch.float64]))
def test_logsumexp_is_the_plain_one_at_any_temperature(case, temperature, dtype):
    scores, weights = case
    sim = torch.tensor(scores, dtype=dtype, requires_grad=True)
    weight = torch.tensor(weights)
    _, lse = scores_and_logsumexp(sim, positives(torch.zeros_like(weight)), weight, temperature)
    wanted = [plain_logsumexp(s, w, temperature) for s, w in zip(scores, weights, strict=True)]
    assert lse.tolist() == pytest.approx(wanted, rel=2e-5, abs=2e-5)
    (grad,) = torch.autograd.grad(lse.sum(), sim)
    assert grad.isfinite().all() and (grad[weight == 0] == 0).all()
    some = (weight > 0).any(1)
    assert grad.sum(1)[some].tolist() == pytest.approx([1 / temperature] * int(some.sum()), rel=1e-4)
    assert (grad[~some] == 0).all()


@pytest.mark.parametrize("ignored", [1.0, 1e4, math.inf, math.nan, -math.inf])
def test_ignored_scores_do_not_swallow_small_ones(ignored):
    sim = torch.tensor([[ignored, -0.9, -1.0], [0.1, 0.2, 0.3]])
    weight = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    sim.requires_grad_()
    lse = scores_and_logsumexp(sim, positives(torch.zeros(2, 3)), weight, 0.005)[1]
    assert lse[0].item() == pytest.approx(plain_logsumexp([-0.9, -1.0], [1.0, 2.0], 0.005), rel=1e-5)
    (grad,) = torch.autograd.grad(lse.sum(), sim)
    assert grad[0, 0] == 0 and grad.isfinite().all()
    assert grad[0, 1].item() == pytest.approx(200, rel=1e-4)


def test_no_columns_and_no_rows():
    empty = torch.zeros(2, 0, requires_grad=True)
    assert weighted_logsumexp(empty, torch.zeros(2, 0)).tolist() == [-math.inf, -math.inf]
    assert weighted_logsumexp(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0,)


def test_gradients_of_both_halves_together():
    draw = torch.Generator().manual_seed(0)
    sim = torch.rand(5, 6, generator=draw, dtype=torch.float64, requires_grad=True)
    weight = (torch.rand(5, 6, generator=draw) > 0.3).double() * torch.rand(5, 6, generator=draw)
    at = positives((torch.rand(5, 6, generator=draw) > 0.6).double())

    def both(x):
        scores, lse = scores_and_logsumexp(x, at, weight, 0.3)
        return scores.square().sum(), lse.sin().sum()

    assert torch.autograd.gradcheck(both, (sim,))
    for of in ("softplus", "hinge"):
        shift = torch.rand(5, generator=draw, dtype=torch.float64).sub(1).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, c, of=of: weighted_sum(of, x, c, weight, 0.3), (sim, shift))
        assert torch.autograd.gradcheck(lambda x, of=of: pairwise_sum(of, x, at, weight, 0.1, 0.3), (sim,))


def test_weights_that_want_a_gradient_are_refused():
    weight = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match="constants"):
        weighted_logsumexp(torch.zeros(2, 3), weight)
    with pytest.raises(ValueError, match="constants"):
        weighted_sum("hinge", torch.zeros(2, 3), torch.zeros(2), weight)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.sampled_from([1, 7, 16, 64, 128]), st.integers(0, 2**20))
def test_positives_are_the_entries_above_zero_in_order(rows, columns, seed):
    draw = torch.Generator().manual_seed(seed)
    weight = (torch.rand(rows, columns, generator=draw) < 0.1) * torch.rand(rows, columns, generator=draw)
    at = positives(weight)
    assert torch.equal(torch.stack([at.row, at.col], 1), weight.nonzero())
    assert torch.equal(at.weight, weight[weight > 0])
    values = torch.rand(len(at.row), generator=draw)
    dense = torch.zeros(rows, columns)
    dense[at.row, at.col] = values
    torch.testing.assert_close(at.mean(values), positive_mean(dense, weight))
    assert torch.equal(at.has, weight.sum(1) > 0)


def test_turns_take_the_entries_of_a_row_one_after_the_other():
    at = positives(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    assert [turn.tolist() for turn in at.turns()] == [[0, 3], [1], [2]]
    assert list(positives(torch.zeros(2, 2)).turns()) == []


def test_softplus_is_exact_where_torch_turns_linear():
    x = torch.tensor([-745.0, -30.0, 0.0, 21.0, 49.0, 51.0, 800.0], dtype=torch.float64)
    wanted = [math.log1p(math.exp(v)) if v < 700 else v for v in x.tolist()]
    assert softplus(x).tolist() == pytest.approx(wanted, rel=1e-15)
