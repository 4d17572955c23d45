"""What every rule over relations promises, as checks that run on any of them, shipped or one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tellapart.contract._blocks import (
    block,
    bound,
    columns_of,
    draws_of,
    rows_of,
    same_state,
    snapshot,
    weighted_rows,
)
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.parts import Card
from tellapart.core.relation import Relation

Build = Callable[..., Any]


def checks(card: Card) -> list[Callable[[Build], None]]:
    """The checks that apply by traits.

    `rowwise` or `batch`; `random`: it draws, so that another order of columns gives another result; `positives`: its
    docstring says that it makes or reweighs positives; `guide`: it reads `guide_q` and `guide_k`.
    """
    every: list[Callable[[Card, Build], None]] = [
        check_trait, check_relation, check_negatives, check_empty_rows, check_half, check_leaves_all_as_it_was,
    ]  # fmt: skip
    if "positives" not in card.traits:
        every.append(check_positives)
    if "rowwise" in card.traits:
        every.append(check_chunks)
    if "random" not in card.traits:
        every.append(check_columns)
    if "guide" in card.traits:
        every.append(check_guide)
    return [bound(check, card) for check in every]


def check_trait(card: Card, build: Build) -> None:
    """It says whether a row of its result depends on that row alone."""
    assert ("rowwise" in card.traits) != ("batch" in card.traits), f"{card.name} must be rowwise or batch"


def check_relation(card: Card, build: Build) -> None:
    """Gives a relation of the same shape with weights >= 0 that are finite and never both; without a gradient."""
    for enc in _inputs():
        given = _learning(enc)
        rel = build()(given, rng=draws_of(enc))
        assert isinstance(rel, Relation), f"{card.name} gives {type(rel).__name__}, not a Relation"
        assert rel.shape == enc.rel.shape, f"{card.name} gives shape {rel.shape} for {enc.rel.shape}"
        assert rel.problems() is None, f"{card.name}: {rel.problems()}"
        assert given.sim.requires_grad, f"{card.name} computes the scores of its input without their gradient"
        assert not (rel.pos.requires_grad or rel.neg.requires_grad), f"{card.name} gives weights that want a gradient"


def check_negatives(card: Card, build: Build) -> None:
    """It never makes a negative of what was none."""
    for enc in _inputs():
        rel = build()(enc, rng=draws_of(enc))
        assert not ((rel.neg > 0) & (enc.rel.neg == 0)).any(), f"{card.name} makes a negative of what was none"


def check_positives(card: Card, build: Build) -> None:
    """It leaves the positives as they are."""
    for enc in _inputs():
        assert torch.equal(build()(enc, rng=draws_of(enc)).pos, enc.rel.pos), f"{card.name} changes the positives"


def check_chunks(card: Card, build: Build) -> None:
    """A row comes out the same whichever rows stand beside it, draws included."""
    enc, part = weighted_rows(), build()
    draws = draws_of(enc)
    whole = part(enc, rng=draws)
    for size in (1, 3):
        for rows in torch.arange(len(enc.q)).split(size):
            rel = part(rows_of(enc, rows), rng=RowDraws(draws.seed, draws.keys[rows]))
            same = torch.allclose(rel.pos, whole.pos[rows]) and torch.allclose(rel.neg, whole.neg[rows])
            assert same, f"{card.name} in chunks of {size} rows differs"


def check_columns(card: Card, build: Build) -> None:
    """Another order of the columns gives the same relation in that order."""
    enc = weighted_rows(own=0)
    order = torch.randperm(len(enc.k), generator=torch.Generator().manual_seed(1))
    rel, other = build()(enc, rng=draws_of(enc)), build()(columns_of(enc, order), rng=draws_of(enc))
    same = torch.allclose(rel.pos[:, order], other.pos) and torch.allclose(rel.neg[:, order], other.neg)
    assert same, f"{card.name} depends on the order of the columns"


def check_empty_rows(card: Card, build: Build) -> None:
    """Rows without a positive, or without a negative, are no trouble."""
    for enc in _inputs():
        for pos, neg in ((0.0, 1.0), (1.0, 0.0), (0.0, 0.0)):
            rel = build()(enc.with_relation(Relation(enc.rel.pos * pos, enc.rel.neg * neg)), rng=draws_of(enc))
            assert rel.problems() is None, f"{card.name} with empty rows: {rel.problems()}"


def check_half(card: Card, build: Build) -> None:
    """Half precision vectors are taken, and weights stay finite and as precise as they came."""
    wide = weighted_rows(dtype=torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        enc = replace(wide, q=wide.q.to(dtype), k=wide.k.to(dtype), own=wide.own.to(dtype))
        enc = replace(enc, rows={n: x.to(dtype) for n, x in enc.rows.items()})
        enc = replace(enc, cols={n: x.to(dtype) for n, x in enc.cols.items()})
        rel = build()(enc, rng=draws_of(enc))
        assert rel.problems() is None, f"{card.name} for {dtype}: {rel.problems()}"
        assert rel.neg.dtype == torch.float32, f"{card.name} turns weights into {rel.neg.dtype} for {dtype} vectors"


def check_leaves_all_as_it_was(card: Card, build: Build) -> None:
    """It changes no input, draws no global randomness, and gives the same bits when called again."""
    enc, part = weighted_rows(), build()
    before, state = snapshot(enc), torch.get_rng_state()
    first, second = part(enc, rng=draws_of(enc)), part(enc, rng=draws_of(enc))
    assert torch.equal(state, torch.get_rng_state()), f"{card.name} draws from the global generator"
    assert same_state(before, snapshot(enc)), f"{card.name} changes its input"
    same = torch.equal(first.pos, second.pos) and torch.equal(first.neg, second.neg)
    assert same, f"{card.name} gives another relation when called again"


def check_guide(card: Card, build: Build) -> None:
    """It follows the guide, and says what is missing when there is none."""
    enc = weighted_rows(own=0)
    other = replace(enc, rows={**enc.rows, "guide_q": -enc.rows["guide_q"]})
    rel, turned = build()(enc, rng=draws_of(enc)), build()(other, rng=draws_of(enc))
    assert not torch.equal(rel.neg, turned.neg), f"{card.name} does not look at its guide"
    try:
        build()(replace(enc, rows={}, cols={}), rng=draws_of(enc))
    except ValueError as error:
        assert "guide" in str(error), f"{card.name} without a guide says only: {error}"
    else:
        raise AssertionError(f"{card.name} runs without the guide it needs")


def _inputs() -> tuple[Encoded, ...]:
    return block(), weighted_rows(), block(own=0), block(spread=0.0)


def _learning(enc: Encoded) -> Encoded:
    return replace(enc, q=enc.q.clone().requires_grad_(), k=enc.k.clone().requires_grad_())
