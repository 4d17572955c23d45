from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Keys
from tellapart.parts.strategy._mined import beside, blocks, drawn, known, packed, same_item

SIDES = ("query", "document")
WRONG_KIND, WRONG_ITEM = range(2)


@part(
    paper="Lin, Lee, Shoeybi, Lin, Catanzaro, Ping: MM-Embed: Universal Multimodal Retrieval with Multimodal LLMs, "
    "ICLR 2025",
    place="pairs",
    system="mm-embed",
    needs=("torch",),
)
class MmEmbed(nn.Module):
    """Both sides searched together: a query says which kind it wants, and learns to pass over the other kind.

    Pictures and texts stand in one index. A query x of one side wants the item y of the other, and says so by a learnt
    vector w of the side wanted::

        z_x = | t_x + w_y |,   candidates are t of both sides, plain,   t the towers' vectors, |v| of length 1

    The columns of a row are both sides of the batch, less the row's own item and duplicate group; its pair is the
    positive, and everything of the kind not wanted is a negative. After the share `warmup` of the steps each query
    searches all training items of both kinds, and two pools of negatives are written down for it, once::

        wrong kind: of the kind not wanted, among the `depth` best, and above the query's own positive
        wrong item: of the kind wanted, among the `depth` best, but not among the `skip` best

    From there on a query also meets `draws` of each pool at every step, drawn anew, or what there is. The best `skip`
    are left alone since there the false negatives are. What shares its target is never its wrong item, but of the wrong
    kind it is wrong all the same.

    What was taken: the towers' heads instead of a fine-tuned language model; one wish a side instead of instructions in
    words, since pairs make two tasks where the paper has 16; training goes on from the model that mined, where the
    paper starts anew from the pretrained one; its third stage (texts alone) and its re-ranking by prompts are not here.
    Depth 50 and skip 45 are the paper's, for millions of candidates.

    Raises PartError where both sides are one column: there is but one kind. Two columns of texts are two kinds.

    Args:
        warmup: share of the steps before the negatives are written down; 1 keeps to those of the batch.
        depth: how far down the ranking of both kinds the pools reach.
        skip: how many of the best are no candidates for `wrong item`.
        draws: negatives of each pool that a query meets at a step.

    When to use: one search over pictures and texts in which a wish should weigh against a mere likeness; where one kind
    alone is searched it can cost a little. Where the kind of every result is known, a filter on the index does the same
    without training. The wishes are no part of a saved model: in Python, `fit(...).strategy.ask(z, wanted="document")`
    gives the vectors to search with.

    Relations: `star` mines among the kind wanted alone; `two-tower` never compares items of one kind.
    """

    def __init__(
        self,
        *,
        warmup: Annotated[float, Field(ge=0, le=1)] = 0.3,
        depth: Annotated[int, Field(ge=1, le=10_000)] = 50,
        skip: Annotated[int, Field(ge=0, le=10_000)] = 45,
        draws: Annotated[int, Field(ge=1, le=1_000)] = 2,
    ) -> None:
        super().__init__()
        self.warmup, self.depth, self.skip, self.draws = warmup, depth, skip, draws

    def begin(self, run: Any) -> None:
        """Lay out the wishes, at nothing, and the pools, empty."""
        if run.data.same_space:
            raise PartError("mm-embed needs two sides of two kinds, and this collection is searched by itself")
        if self.skip >= self.depth:
            raise PartError(f"mm-embed: skip={self.skip} leaves nothing of depth={self.depth}; give a smaller skip")
        self.depth = min(self.depth, 2 * len(run.data) - 2)
        self.wishes = nn.Parameter(torch.zeros(len(SIDES), run.dim()))
        empty = torch.full((len(SIDES), 2, len(run.data), self.depth), -1, dtype=torch.int64)
        self.register_buffer("pools", empty)
        self.register_buffer("written", torch.zeros((), dtype=torch.bool))

    def ask(self, z: Tensor, wanted: str) -> Tensor:
        """[n, d] vectors to search with, of towers' vectors whose side looks for the side `wanted`."""
        return unit(z + self.wishes[SIDES.index(wanted)])

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n], of the side that asks."""
        if not self.written and run.step >= self.warmup * run.steps:
            self.pools.copy_(torch.stack([self._mined(run, side) for side in SIDES]))
            self.written.fill_(True)
        z = {side: run.encode(side, batch) for side in SIDES}
        asking = SIDES if run.recipe.both_ways else SIDES[:1]
        return {side: self._contrast(run, batch, side, z) / len(asking) for side in asking}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _contrast(self, run: Any, batch: np.ndarray, side: str, z: dict[str, Tensor]) -> Tensor:
        """The recipe's objective, rows of one side against the batch's items of both and what is drawn for each."""
        other = SIDES[1 - SIDES.index(side)]
        pairs = run.pairing(self.ask(z[side], other), z[other], batch, reverse=side == "document")
        own_kind = run.pairing(z[other], z[side], batch, reverse=side == "query")
        keys, nothing = pairs.col_keys, torch.full_like(pairs.col_keys.target, -1)
        pairs = replace(
            pairs,
            k=torch.cat([pairs.k, own_kind.k]),
            cols={name: torch.cat([x, own_kind.cols[name]]) for name, x in pairs.cols.items()},
            col_keys=Keys.cat(keys, Keys(keys.item, keys.group, nothing)),
        )
        if self.written:
            rows = torch.from_numpy(batch)
            rng = RowDraws(run.draw(f"mm-embed {side}"), rows)
            pools = self.pools[SIDES.index(side)]
            for stream, kind in ((WRONG_KIND, side), (WRONG_ITEM, other)):
                chosen = drawn(pools[stream][rows.to(pools.device)], rng, self.draws, stream=stream)
                pairs = beside(run, pairs, chosen, kind)
        return run.contrast(pairs)

    @torch.no_grad()
    def _mined(self, run: Any, side: str) -> Tensor:
        """[2, n, depth] rows for each query of a side: of its own kind and of the other; -1 where there are fewer."""
        other = SIDES[1 - SIDES.index(side)]
        own_kind, wanted = run.encode_all(side), run.encode_all(other)
        asked, keys, n = self.ask(own_kind, other), run.data.keys, len(wanted)
        found = []
        for rows in blocks(n):
            at = rows.to(asked.device)
            no_candidates = torch.cat([known(keys, rows), same_item(keys, rows)], 1).to(asked.device)
            sim = asked[at] @ torch.cat([wanted, own_kind]).T
            best = sim.masked_fill(no_candidates, -torch.inf).topk(self.depth, dim=1)
            of_wanted, there = best.indices < n, best.values.isfinite()
            above = best.values > sim.gather(1, at[:, None])
            late = torch.arange(self.depth, device=sim.device) >= self.skip
            wrong_kind = packed(best.indices - n, ~of_wanted & above & there)
            found.append(torch.stack([wrong_kind, packed(best.indices, of_wanted & late & there)]))
        return torch.cat(found, 1)
