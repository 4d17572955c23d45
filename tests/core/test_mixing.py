"""Points between vectors, and positives that become columns of their rows' own."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import beta, kstest

from tellapart.contract._blocks import block, draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.maths import unit
from tellapart.core.mixing import columns, mix, shared_positives, with_positives_apart
from tellapart.core.parts import make


@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.01, 0.5, 1.5, 3.0, 3.14])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_an_arc_is_cut_at_its_share(angle, share):
    a, b = torch.tensor([1.0, 0.0], dtype=torch.float64), _at(angle)
    made = mix(a, b, torch.tensor([share]), along="arc")
    reached = math.atan2(made[1].item(), made[0].item())
    assert reached == pytest.approx((1 - share) * angle, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("along", ["line", "arc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_opposite_and_close_vectors_give_unit_vectors_and_finite_gradients(along, dtype):
    for angle in (0.0, 1e-8, 1e-4, 2e-3, math.pi - 2e-3, math.pi - 1e-8, math.pi):
        a, b = torch.tensor([1.0, 0.0], dtype=dtype, requires_grad=True), _at(angle).to(dtype).requires_grad_()
        for share in (0.0, 0.3, 0.5, 1.0):
            made = mix(a, b, torch.tensor([share]), along=along)
            assert made.norm().item() == pytest.approx(1, abs=1e-5)
            grads = torch.autograd.grad(made.sum(), (a, b))
            assert all(g.isfinite().all() for g in grads), (angle, share)


def test_a_line_and_an_arc_differ_but_at_the_middle():
    a, b = torch.tensor([1.0, 0.0]), _at(2.0).float()
    assert torch.allclose(mix(a, b, torch.tensor([0.5])), mix(a, b, torch.tensor([0.5]), along="arc"))
    assert not torch.allclose(mix(a, b, torch.tensor([0.8])), mix(a, b, torch.tensor([0.8]), along="arc"), atol=0.01)


def test_columns_are_found_among_common_and_own_ones():
    enc = weighted_rows()
    index = torch.tensor([[0, len(enc.k) - 1, len(enc.k), len(enc.k) + 1]]).expand(len(enc.q), -1)
    expected = torch.cat([enc.k[[0, -1]].expand(len(enc.q), -1, -1), enc.own], 1)
    assert torch.allclose(columns(enc, index), expected)


def test_positives_apart_keep_every_score_weight_and_the_guide():
    enc = weighted_rows()
    at = shared_positives(enc)
    apart = with_positives_apart(enc, at, unit(enc.k)[at.col])
    old = enc.rel.shape[1]
    for i in range(len(enc.q)):
        before, after = (
            sorted((e.rel.pos[i, j].item(), e.sim[i, j].item()) for j in e.rel.pos[i].nonzero()[:, 0])
            for e in (enc, apart)
        )
        assert [w for w, _ in before] == [w for w, _ in after]
        assert [s for _, s in before] == pytest.approx([s for _, s in after])
        said = apart.rows["guide_own"][i]
        assert (said[: enc.own.shape[1]] == 0).all()
        for s, j in enumerate(enc.rel.pos[i, : len(enc.k)].nonzero()[:, 0]):
            assert torch.equal(said[enc.own.shape[1] + s], enc.cols["guide_k"][j])
    assert torch.equal(apart.rel.neg[:, :old], enc.rel.neg)
    assert (apart.rel.pos[:, : len(enc.k)] == 0).all()


def test_a_guide_drops_the_same_negatives_when_positives_stand_apart():
    enc, rule = block(own=0), make("relate", "gist-embed(margin=0.1)")
    moved = make("augment", "positive-extrapolation")(enc, rng=draws_of(enc))
    before, after = (rule(e, rng=draws_of(e)).neg[:, : len(enc.k)] for e in (enc, moved))
    assert torch.equal(before, after)
    assert (before < enc.rel.neg).any()


def test_a_block_without_positives_is_left_alone():
    enc = block()
    enc = enc.with_relation(make("relate", "drop-random(share=0)")(enc, rng=draws_of(enc)))
    enc.rel.pos.zero_()
    for name in ("positive-extrapolation", "negative-interpolation"):
        made = make("augment", name)(enc, rng=draws_of(enc))
        assert made.rel.shape == enc.rel.shape and (made.rel.pos == 0).all()


@pytest.mark.parametrize("alpha", [0.5, 0.7, 1.0, 2.0, 8.0])
def test_beta_draws_are_beta(alpha):
    drawn = RowDraws(4, torch.arange(500)).beta(alpha, 10, stream=3)
    assert drawn.shape == (500, 10) and drawn.min() >= 0 and drawn.max() <= 1
    assert kstest(drawn.flatten().numpy(), beta(alpha, alpha).cdf).pvalue > 1e-3
    assert torch.equal(RowDraws(4, torch.arange(500)).beta(alpha, 13, stream=3)[:, :10], drawn)


def _at(angle):
    return torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
