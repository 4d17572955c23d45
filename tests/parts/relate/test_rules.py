"""What the docstrings of the rules say, on cases small enough to see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.contract._blocks import block, draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Relation


def scored(sim, pos, neg):
    """A block whose scores are the numbers given."""
    sim = torch.tensor(sim)
    enc = Encoded(
        torch.zeros(len(sim), 2), torch.zeros(sim.shape[1], 2), Relation(torch.tensor(pos), torch.tensor(neg))
    )
    enc.__dict__["sim"] = sim
    return enc


def test_the_filter_lowers_its_bar_below_zero_too():
    enc = scored([[-0.5, -0.52, -0.6]], [[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]])
    rel = make("relate", "drop-near-positive(margin=0.1)")(enc, rng=draws_of(enc))
    assert rel.neg.tolist() == [[0.0, 0.0, 1.0]]


def test_the_weakest_positive_sets_the_bar():
    enc = scored([[0.9, 0.4, 0.5, 0.3]], [[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]])
    rel = make("relate", "drop-near-positive")(enc, rng=draws_of(enc))
    assert rel.neg.tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_a_row_without_a_positive_keeps_its_negatives():
    enc = block()
    enc = enc.with_relation(Relation(torch.zeros_like(enc.rel.pos), torch.ones_like(enc.rel.neg)))
    for name in ("gist-embed", "drop-near-positive"):
        assert torch.equal(make("relate", name)(enc, rng=draws_of(enc)).neg, enc.rel.neg)


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, 1), st.floats(0, 1))
def test_a_larger_margin_never_drops_less(margin, more):
    enc = weighted_rows()
    for name in ("gist-embed", "drop-near-positive"):
        few = make("relate", name, margin=margin)(enc, rng=draws_of(enc)).neg
        many = make("relate", name, margin=margin + more)(enc, rng=draws_of(enc)).neg
        assert ((many > 0) <= (few > 0)).all()


def test_gist_takes_twins_of_the_positive_out_and_leaves_strangers():
    guide = torch.eye(4)
    twin = torch.nn.functional.normalize(guide[0] + 0.05 * guide[1], dim=0)
    blurred = torch.nn.functional.normalize(guide[0] + 0.3 * guide[2], dim=0)
    enc = Encoded(
        torch.zeros(1, 2),
        torch.zeros(3, 2),
        Relation(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0]])),
        {"guide_q": guide[:1]},
        {"guide_k": torch.stack([blurred, twin, guide[3]])},
    )
    assert make("relate", "gist-embed")(enc, rng=draws_of(enc)).neg.tolist() == [[0.0, 0.0, 1.0]]


def test_gist_keeps_what_equals_the_positive_however_the_guide_rounds():
    guide = torch.randn(200, 13, generator=torch.Generator().manual_seed(0))
    twins = torch.cat([guide, guide * 3])
    pos = torch.cat([torch.eye(200), torch.zeros(200, 200)], 1)
    neg = torch.cat([torch.zeros(200, 200), torch.eye(200)], 1)
    enc = Encoded(torch.zeros(200, 2), torch.zeros(400, 2), Relation(pos, neg), {"guide_q": guide}, {"guide_k": twins})
    assert torch.equal(make("relate", "gist-embed")(enc, rng=draws_of(enc)).neg, neg)


def test_gist_does_not_mind_the_length_of_the_guides_vectors():
    enc = weighted_rows()
    longer = {"guide_q": enc.rows["guide_q"] * 7}, {"guide_k": enc.cols["guide_k"] * 0.2}
    other = Encoded(enc.q, enc.k, enc.rel, *longer, enc.own)
    part = make("relate", "gist-embed")
    assert torch.equal(part(other, rng=draws_of(enc)).neg, part(enc, rng=draws_of(enc)).neg)


def test_random_drops_differ_from_step_to_step():
    enc = block(rows=20, columns=40)
    part = make("relate", "drop-random(share=0.5)")
    first, second = (part(enc, rng=RowDraws(seed, torch.arange(20))).neg for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("spec", ["drop-random(share=1.5)", "gist-embed(margin='x')", "drop-near-positive(margins=1)"])
def test_options_out_of_their_bounds_are_refused(spec):
    with pytest.raises(PartError):
        make("relate", spec)
