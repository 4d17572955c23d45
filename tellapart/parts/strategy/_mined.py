"""Negatives that are written down for every row: what the strategies that mine share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.relation import Keys

ROWS = 1024


def blocks(n: int) -> Iterator[Tensor]:
    """The numbers of n rows, some at a time: memory is a block's rows times what they are compared with."""
    yield from torch.arange(n).split(ROWS)


def same_item(keys: Keys, rows: Tensor) -> Tensor:
    """[r, n] bool: what is a row's own item or of its duplicate group."""
    return (keys.group[rows, None] == keys.group) | (keys.item[rows, None] == keys.item)


def known(keys: Keys, rows: Tensor) -> Tensor:
    """[r, n] bool: what can be no negative of a row: its own item, its duplicate group, and its positives."""
    target = keys.target[rows, None]
    return same_item(keys, rows) | ((target == keys.target) & (target >= 0))


def packed(rows: Tensor, wanted: Tensor) -> Tensor:
    """[n, s] rows with the wanted ones first, in their order, and -1 for the others."""
    order = (~wanted).byte().argsort(dim=1, stable=True)
    return rows.masked_fill(~wanted, -1).gather(1, order)


def drawn(pool: Tensor, draws: RowDraws, count: int, *, stream: int = 0) -> Tensor:
    """[n, count] of each row's entries of a pool [n, s], none twice; -1, and last, where there are no more."""
    chance = draws.uniform(pool.shape[1], stream=stream).to(pool.device).masked_fill(pool < 0, -1.0)
    chosen = pool.gather(1, chance.topk(min(count, pool.shape[1]), dim=1).indices)
    return nn.functional.pad(chosen, (0, count - chosen.shape[1]), value=-1)


def beside(run: Any, pairs: Any, chosen: Tensor, side: str) -> Any:
    """A pairing with further negatives of each row's own: [n, s] rows of a side, -1 where there are fewer."""
    own = run.encode(side, chosen.clamp_min(0).flatten().cpu().numpy()).view(*chosen.shape, -1)
    weight = (chosen >= 0).to(own)
    if pairs.own is not None:
        own, weight = torch.cat([pairs.own, own], 1), torch.cat([pairs.own_neg, weight], 1)
    return replace(pairs, own=own, own_neg=weight)


@torch.no_grad()
def hardest(run: Any, depth: int, *, rows: Tensor | None = None) -> Tensor:
    """[r, depth] documents that score best for each query and may be negatives of it; -1 where there are fewer.

    `rows` [r] are the queries; None: all.
    """
    q, k, keys = run.encode_all("query"), run.encode_all("document"), run.data.keys
    found = []
    for some in (torch.arange(len(q)) if rows is None else rows).split(ROWS):
        sim = (q[some.to(q.device)] @ k.T).masked_fill(known(keys, some).to(q.device), -torch.inf)
        best = sim.topk(depth, dim=1)
        found.append(best.indices.masked_fill(best.values.isneginf(), -1))
    return torch.cat(found)
