"""Regions and what is said of them, drawn from the pictures of a batch: a loss beside that of whole pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tellapart.core.draws import RowDraws
from tellapart.core.maths import unit
from tellapart.core.relation import Keys


def region_losses(run: Any, batch: Tensor, assigned: Tensor, drawn: int) -> dict[str, Tensor]:
    """The recipe's objective over regions of the batch's pictures and their texts, both ways if the recipe says so.

    The text of a region is the mean of the vectors of what is said of its attributes, of length 1. From every picture
    `drawn` regions with an attribute are taken at random, some repeatedly where there are fewer; a picture without any
    stands for itself, with its caption. Neither regions of equal text nor the same region of near duplicates are each
    other's negatives.

    Args:
        batch: [n] row numbers of items.
        assigned: [regions, attributes] bool, on the CPU.
    """
    of, phrase = (torch.from_numpy(run.data.extra[name]) for name in ("region_of", "phrase_of"))
    mapped = assigned[of[batch].clamp_min(0)].any(2) & (of[batch] >= 0)
    chance = RowDraws(run.draw("regions"), batch).uniform(of.shape[1]) + 2.0 * ~mapped
    turn = torch.arange(drawn) % mapped.sum(1, keepdim=True).clamp_min(1)
    place = chance.argsort(1).gather(1, turn)
    region, items = of[batch].gather(1, place).flatten(), batch.repeat_interleave(drawn)
    has = assigned[region]
    k = run.encode("region", region.numpy(), tower=run.towers["document"])
    q = torch.zeros_like(k)
    row, attribute = has.nonzero(as_tuple=True)
    if len(row):
        said, at = phrase[items[row], attribute].unique(return_inverse=True)
        vectors = run.encode("phrase", said.numpy(), tower=run.towers["query"])
        q = unit(q.index_add(0, row.to(q.device), vectors[at.to(q.device)]))
    alone = (~has.any(1)).nonzero()[:, 0]
    if len(alone):
        rows = items[alone].numpy()
        q = q.index_copy(0, alone.to(q.device), run.encode("query", rows))
        k = k.index_copy(0, alone.to(k.device), run.encode("document", rows))
    keys = _keys(run, items, region, place.flatten(), has, phrase)
    keys = Keys(*(getattr(keys, name).to(k.device) for name in ("item", "group", "target")))

    def loss(a: Tensor, b: Tensor) -> Tensor:
        pairs = run.pairing(a, b, batch.numpy(), reverse=True)
        found: Tensor = run.contrast(replace(pairs, row_keys=keys, col_keys=keys, own=None, own_neg=None))
        return found

    if not run.recipe.both_ways:
        return {"region_text": loss(q, k)}
    return {"region_text": loss(q, k) / 2, "region": loss(k, q) / 2}


def _keys(run: Any, items: Tensor, region: Tensor, place: Tensor, has: Tensor, phrase: Tensor) -> Keys:
    """A region is its own target; equal texts are one group; the same place of one duplicate group is one item."""
    known = run.data.keys.group.unique(return_inverse=True)[1][items]
    salt = torch.randint(1, 1 << 62, (len(run.data.phrase),), generator=torch.Generator().manual_seed(0))
    text = (salt[phrase[items].clamp_min(0)] * has).sum(1)
    told, own = has.any(1), -2 - known
    width = run.data.extra["region_of"].shape[1]
    return Keys(
        torch.where(told, known * width + place, own),
        torch.where(told, text, own),
        torch.where(told, region, len(run.data.region) + items),
    )
