"""Negatives that are written down for every row: what the strategies that mine share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

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
    """[n, count] of each row's entries of a pool [n, s] as `packed` made it, with replacement; -1 where it has none."""
    held = (pool >= 0).sum(1, keepdim=True)
    place = (draws.uniform(count, stream=stream).to(pool.device) * held).long().minimum((held - 1).clamp_min(0))
    return pool.gather(1, place)
