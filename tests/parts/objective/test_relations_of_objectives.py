"""What the docstrings say of the objectives' relations to each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tellapart.contract._blocks import block, weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import cards, make
from tellapart.core.relation import Relation


def gradient(spec, enc):
    q = enc.q.detach().clone().requires_grad_()
    loss = make("objective", spec)(replace(enc, q=q))
    return loss.detach(), torch.autograd.grad(loss.sum(), q)[0]


def test_supcon_with_one_positive_is_infonce():
    enc = block()
    for a, b in zip(gradient("supcon", enc), gradient("infonce", enc), strict=True):
        torch.testing.assert_close(a, b)


def test_the_gradient_of_infonce_is_that_of_dcl_times_the_chance_of_error():
    enc = block()
    loss, coupled = gradient("infonce", enc)
    _, free = gradient("dcl", enc)
    torch.testing.assert_close(coupled, free * (1 - (-loss).exp())[:, None])


def test_dclw_is_dcl_where_all_positives_are_equally_easy():
    enc = block(spread=0.0)
    torch.testing.assert_close(make("objective", "dclw")(enc), make("objective", "dcl")(enc).mean())


def test_a_low_temperature_makes_infonce_the_hardest_triplet():
    enc = block()
    hard = make("objective", "triplet-hardest(margin=0.0)")(enc)
    torch.testing.assert_close(0.001 * make("objective", "infonce(temperature=0.001)")(enc), hard, atol=0.002, rtol=0)


def test_twins_share_the_gradient_of_the_hardest_triplet():
    """However the products of equal vectors were rounded."""
    enc = block(own=0)
    rel = Relation(*(torch.cat([w, w], 1) for w in (enc.rel.pos, enc.rel.neg)))
    twins = Encoded(enc.q, torch.cat([enc.k, enc.k]), rel)
    sim = twins.sim.detach()
    sim[:, len(enc.k) :] += 5e-16
    twins.__dict__["sim"] = sim.requires_grad_()
    (grad,) = torch.autograd.grad(make("objective", "triplet-hardest(margin=4)")(twins).sum(), sim)
    assert (grad != 0).sum(1).tolist() == [4] * len(enc.q)
    torch.testing.assert_close(grad[:, : len(enc.k)], grad[:, len(enc.k) :])


def test_margin_mse_is_zero_for_a_student_that_is_its_teacher():
    enc = weighted_rows()
    taught = replace(enc, rows={"teacher": enc.sim.detach() + 7.0})
    assert make("objective", "margin-mse")(taught).abs().max() < 1e-12


def test_margin_mse_does_not_look_at_the_teacher_of_ignored_entries():
    enc = weighted_rows()
    ignored = (enc.rel.pos == 0) & (enc.rel.neg == 0)
    spoilt = replace(enc, rows={"teacher": enc.rows["teacher"].masked_fill(ignored, torch.nan)})
    for a, b in zip(gradient("margin-mse", spoilt), gradient("margin-mse", enc), strict=True):
        assert torch.equal(a, b)


def test_margin_mse_takes_the_guide_for_a_teacher_where_there_is_none():
    enc = weighted_rows(own=2)
    own = enc.own.flip(1)
    guided = replace(enc, rows={"guide_q": 3 * enc.rows["guide_q"], "guide_own": own})
    columns = torch.cat([enc.cols["guide_k"].expand(len(enc.q), -1, -1), own], 1)
    told = replace(enc, rows={"teacher": torch.einsum("nd,nmd->nm", enc.rows["guide_q"], columns)})
    part = make("objective", "margin-mse")
    torch.testing.assert_close(part(guided), part(told))
    with pytest.raises(ValueError, match="guide_own"):
        part(replace(guided, rows={"guide_q": enc.q}))


def test_margin_mse_says_that_it_needs_a_teacher():
    with pytest.raises(ValueError, match=r"margin-mse needs 'teacher'"):
        make("objective", "margin-mse")(replace(block(), rows={}))


def test_ranknet_takes_the_size_of_the_weights_at_their_word():
    enc = block()
    heavy = enc.with_relation(enc.rel.weighing_negatives(torch.tensor(3.0)))
    torch.testing.assert_close(make("objective", "ranknet")(heavy), 3 * make("objective", "ranknet")(enc))


def test_sigmoid_gives_a_perfect_match_the_logit_that_its_docstring_says():
    options = {o.name: o.default for o in cards("objective")["sigmoid"].options}
    assert 1 / options["temperature"] + options["bias"] == 0


@pytest.mark.parametrize("name", ["infonce", "dcl", "supcon"])
def test_low_temperatures_and_float32_lose_nothing(name):
    """An ignored near twin at score 1 does not push the sum of far negatives below the smallest float."""
    enc = block(own=0, dtype=torch.float32)
    sim = torch.full(enc.rel.shape, -0.9)
    sim[:, -1] = 1.0
    pos = torch.eye(*enc.rel.shape)
    neg = 1 - pos
    neg[:, -1] = 0.0
    fresh = enc.with_relation(Relation(pos, neg))
    fresh.__dict__["sim"] = sim.requires_grad_()
    loss = make("objective", f"{name}(temperature=0.01)")(fresh)
    count = neg[0].sum()
    wanted = count.log() if name == "dcl" else (1 + count).log()
    torch.testing.assert_close(loss, wanted.expand_as(loss), atol=1e-4, rtol=0)
    assert torch.autograd.grad(loss.sum(), sim)[0].isfinite().all()


@pytest.mark.parametrize(
    "spec", ["infonce(temperature=0)", "triplet(margin=-1)", "dclw(spread=0)", "sigmoid(bias='x')"]
)
def test_options_out_of_their_bounds_are_refused(spec):
    with pytest.raises(PartError):
        make("objective", spec)
