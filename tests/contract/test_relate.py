"""Every check of the contract of relations passes a right rule and fails a wrong one made for it."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch

from tellapart.contract import relate as contract
from tellapart.core.maths import unit
from tellapart.core.parts import cards
from tellapart.core.relation import Relation

CARD = replace(cards("relate")["drop-near-positive"], name="rule")
GUIDE = replace(CARD, traits=("rowwise", "guide"))


def right(enc, *, rng):
    return enc.rel.without_negatives(enc.sim.detach() > 0.5)


def guided(enc, *, rng):
    score = unit(enc.need_rows("guide_q", "rule")) @ unit(enc.need_cols("guide_k", "rule")).T
    score = torch.nn.functional.pad(score, (0, enc.rel.shape[1] - score.shape[1]))
    return enc.rel.without_negatives(score > 0.3)


def gives_a_mask(enc, *, rng):
    return enc.rel.neg > 0


def loses_own_columns(enc, *, rng):
    return Relation(enc.rel.pos[:, : len(enc.k)], enc.rel.neg[:, : len(enc.k)])


def makes_weights_negative(enc, *, rng):
    return replace(enc.rel, neg=enc.rel.neg * enc.sim.detach())


def learns_its_weights(enc, *, rng):
    return enc.rel.weighing_negatives(enc.sim.exp())


def spoils_the_scores_for_those_after_it(enc, *, rng):
    with torch.no_grad():
        return enc.rel.without_negatives(enc.sim > 0.5)


def makes_all_others_negatives(enc, *, rng):
    return replace(enc.rel, neg=(enc.rel.pos == 0).to(enc.rel.neg.dtype))


def forgets_weights_of_positives(enc, *, rng):
    return replace(enc.rel, pos=(enc.rel.pos > 0).to(enc.rel.pos.dtype))


def compares_with_the_block(enc, *, rng):
    return enc.rel.without_negatives(enc.sim.detach() > enc.sim.detach().mean())


def draws_by_place_in_the_block(enc, *, rng):
    shade = torch.rand(enc.rel.shape, generator=torch.Generator().manual_seed(rng.seed))
    return enc.rel.without_negatives(shade < 0.3)


def drops_early_columns(enc, *, rng):
    return enc.rel.without_negatives(torch.arange(enc.rel.shape[1]) < 3)


def divides_by_the_positives(enc, *, rng):
    return enc.rel.weighing_negatives(1 / enc.rel.pos.sum(1, keepdim=True))


def weights_in_the_vectors_precision(enc, *, rng):
    return Relation(enc.rel.pos.to(enc.q.dtype), enc.rel.neg.to(enc.q.dtype))


def writes_into_the_relation(enc, *, rng):
    enc.rel.neg.mul_(0.5)
    return enc.rel


def draws_globally(enc, *, rng):
    return enc.rel.without_negatives(torch.rand(enc.rel.shape) < 0.3)


def deaf_to_its_guide(enc, *, rng):
    enc.need_rows("guide_q", "rule")
    return right(enc, rng=rng)


def works_without_a_guide(enc, *, rng):
    return guided(enc, rng=rng) if "guide_q" in enc.rows else enc.rel


def says_nothing_of_the_guide(enc, *, rng):
    if "guide_q" not in enc.rows:
        raise ValueError("no")
    return guided(enc, rng=rng)


WRONG = [
    ("check_trait", replace(CARD, traits=()), right),
    ("check_relation", CARD, gives_a_mask),
    ("check_relation", CARD, loses_own_columns),
    ("check_relation", CARD, makes_weights_negative),
    ("check_relation", CARD, learns_its_weights),
    ("check_relation", CARD, spoils_the_scores_for_those_after_it),
    ("check_negatives", CARD, makes_all_others_negatives),
    ("check_positives", CARD, forgets_weights_of_positives),
    ("check_chunks", CARD, compares_with_the_block),
    ("check_chunks", CARD, draws_by_place_in_the_block),
    ("check_columns", CARD, drops_early_columns),
    ("check_empty_rows", CARD, divides_by_the_positives),
    ("check_half", CARD, weights_in_the_vectors_precision),
    ("check_leaves_all_as_it_was", CARD, writes_into_the_relation),
    ("check_leaves_all_as_it_was", CARD, draws_globally),
    ("check_guide", GUIDE, deaf_to_its_guide),
    ("check_guide", GUIDE, works_without_a_guide),
    ("check_guide", GUIDE, says_nothing_of_the_guide),
]


@pytest.mark.parametrize(("name", "card", "wrong"), WRONG, ids=lambda x: getattr(x, "__name__", None))
def test_a_wrong_rule_fails(name, card, wrong):
    check = next(check for check in contract.checks(card) if check.__name__ == name)
    with pytest.raises(AssertionError, match="rule"):
        check(lambda **o: functools.partial(wrong, **o))


@pytest.mark.parametrize(("card", "part"), [(CARD, right), (GUIDE, guided)], ids=["plain", "guide"])
def test_a_right_rule_passes(card, part):
    for check in contract.checks(card):
        check(lambda **o: functools.partial(part, **o))


def test_every_check_is_shown_to_fail():
    every = {c.__name__ for card in (CARD, GUIDE) for c in contract.checks(card)}
    assert every == {name for name, _, _ in WRONG}


def test_traits_choose_the_checks():
    names = {c.__name__ for c in contract.checks(replace(CARD, traits=("batch", "random", "positives")))}
    assert not names & {"check_chunks", "check_columns", "check_positives", "check_guide"}
