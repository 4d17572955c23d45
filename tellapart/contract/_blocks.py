"""Small blocks of rows against columns for the contracts of parts that work on `Encoded`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.parts import Card
from tellapart.core.relation import Relation

DIM = 6


def bound(check: Callable[[Card, Callable[..., Any]], None], card: Card) -> Callable[[Callable[..., Any]], None]:
    """A check with its card, as `checks(card)` gives it; it keeps its name and docstring."""

    @functools.wraps(check)
    def run(build: Callable[..., Any]) -> None:
        check(card, build)

    return run


def block(
    *, rows: int = 7, columns: int = 9, own: int = 2, spread: float = 1.0, dtype: torch.dtype = torch.float64
) -> Encoded:
    """Rows with one positive each, their own columns negative, and a guide and a teacher beside them.

    Args:
        spread: how far a positive may lie from its row; 0: they are equal.
    """
    draw = torch.Generator().manual_seed(rows * 100 + columns)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    q = unit(normal(rows, DIM))
    k = unit(torch.cat([q + spread * normal(rows, DIM), normal(columns - rows, DIM)]))
    pos = torch.eye(rows, columns)
    rel = Relation(pos, 1 - pos)
    enc = Encoded(
        q=q.to(dtype),
        k=k.to(dtype),
        rel=rel,
        rows={"guide_q": unit(q + 0.3 * normal(rows, DIM)).to(dtype)},
        cols={"guide_k": unit(k + 0.3 * normal(columns, DIM)).to(dtype)},
    )
    if own:
        enc = enc.with_own(unit(normal(rows, own, DIM)).to(dtype), torch.zeros(rows, own), torch.ones(rows, own))
    teacher = (enc.sim.detach().double() + 0.2 * normal(rows, columns + own)).to(dtype)
    return replace(enc, rows={**enc.rows, "teacher": teacher})


def weighted_rows(*, rows: int = 8, columns: int = 13, own: int = 2, dtype: torch.dtype = torch.float64) -> Encoded:
    """Rows with one to three weighted positives, weighted and ignored negatives, one row without any positive."""
    enc = block(rows=rows, columns=columns, own=own, dtype=dtype)
    draw = torch.Generator().manual_seed(rows + columns)
    chance = torch.rand(enc.rel.shape, generator=draw)
    weight = 0.5 + torch.rand(enc.rel.shape, generator=draw, dtype=dtype)
    pos = ((chance < 0.12) | (enc.rel.pos > 0)) * weight
    neg = ((chance >= 0.12) & (chance < 0.85)) * weight * (pos == 0)
    pos[-1] = 0.0
    return enc.with_relation(Relation(pos, neg))


def draws_of(enc: Encoded, seed: int = 3) -> RowDraws:
    """Draws for the rows of a block whose keys are their numbers."""
    return RowDraws(seed, torch.arange(len(enc.q)) + 1000)


def rows_of(enc: Encoded, rows: Tensor) -> Encoded:
    """Some rows of a block against the same columns."""
    return Encoded(
        q=enc.q[rows],
        k=enc.k,
        rel=Relation(enc.rel.pos[rows], enc.rel.neg[rows]),
        rows={name: x[rows] for name, x in enc.rows.items()},
        cols=enc.cols,
        own=None if enc.own is None else enc.own[rows],
    )


def columns_of(enc: Encoded, columns: Tensor) -> Encoded:
    """A block without own columns with its columns in another order."""
    return Encoded(
        q=enc.q,
        k=enc.k[columns],
        rel=Relation(enc.rel.pos[:, columns], enc.rel.neg[:, columns]),
        rows={name: x[:, columns] if name == "teacher" else x for name, x in enc.rows.items()},
        cols={name: x[columns] for name, x in enc.cols.items()},
    )


def joined(enc: Encoded) -> Encoded:
    """The same block with own columns as common ones, which all rows but their owner ignore."""
    assert enc.own is not None
    n, s, d = enc.own.shape
    m = len(enc.k)
    owner = torch.eye(n).repeat_interleave(s, 1)

    def widen(x: Tensor) -> Tensor:
        return torch.cat([x[:, :m], x[:, m:].repeat(1, n) * owner.to(x.dtype)], 1)

    return Encoded(
        q=enc.q,
        k=torch.cat([enc.k, enc.own.reshape(n * s, d)]),
        rel=Relation(widen(enc.rel.pos), widen(enc.rel.neg)),
        rows={name: widen(x) if name == "teacher" else x for name, x in enc.rows.items()},
        cols={name: torch.cat([x, x.new_zeros(n * s, x.shape[1])]) for name, x in enc.cols.items()},
    )


def leaves(enc: Encoded) -> tuple[Tensor, ...]:
    """q, k and, where there are any, the own columns, as leaves that want a gradient."""
    return tuple(v.detach().clone().requires_grad_() for v in (enc.q, enc.k, enc.own) if v is not None)


def snapshot(enc: Encoded) -> dict[str, Any]:
    """Copies of all tensors of a block."""
    own = {} if enc.own is None else {"own": enc.own}
    tensors = {"q": enc.q, "k": enc.k, "sim": enc.sim, "pos": enc.rel.pos, "neg": enc.rel.neg, **own}
    return {name: x.detach().clone() for name, x in {**tensors, **enc.rows, **enc.cols}.items()}


def same_state(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two snapshots are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
