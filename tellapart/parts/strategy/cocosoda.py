from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.parts.strategy._queued import Copies, Queues

SIDES = ("query", "document")


@part(
    paper="Shi, Wang, Gu, Du, Zhang, Han, Zhang, Sun: CoCoSoDa: Effective Contrastive Learning for Code Search, "
    "ICSE 2023",
    place="pairs",
    system="cocosoda",
    needs=("torch",),
)
class Cocosoda(nn.Module):
    """A query must find its document, an altered copy of it, and an altered copy of itself; documents likewise.

    With q, d the towers' vectors of a pair as it is, q', d' those of altered copies of its texts by slowly moving
    copies of the towers, and L(a, b) the recipe's objective with a as rows and b as columns::

        loss = ( L(q, d) + L(q, d') + L(d, q) + L(d, q') + L(q, q') + L(d, d') ) / 6

    Behind the columns of the batch stand the last `size` vectors of the same kind, in four queues: past q, d, q', d'.
    Gradients go to q and d, as rows and as columns; q' and d' have none. What alters the texts is named in the recipe:
    `augment=soda` for source text, `mask-words` for others, pixel parts for pictures below a tuned encoder. A side that
    nothing alters is seen by the slow copy as it is. With `both_ways=false` the three terms with q as rows are left.

    As in the authors' code the queues of q and d hold vectors of the towers, not of their copies. There the queues
    begin with random vectors and one encoder serves both sides; here they begin empty, and the towers are the recipe's.

    Args:
        size: vectors in each queue; at most the collection is of use. The paper's code has 1,024.
        momentum: share of the slow copy that stays at every step. The paper has 0.999 over 100,000 steps.

    When to use: search of source text by what it does; any pairs of two sides that have alterations which leave the
    meaning. Needs two sides. Relations that need a guide do not go with it, since queues keep no guide's vectors. A
    step encodes its batch four times.

    Relations: `momentum-queue` is L(q, d) and L(d, q) with copies as columns, its baseline.
    """

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=1, le=10_000_000)] = 1024,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        self.size, self.momentum = size, momentum

    def begin(self, run: Any) -> None:
        """Copy the towers and lay out empty queues."""
        if run.data.same_space:
            raise PartError("cocosoda needs pairs of two sides, and this collection is searched by itself")
        self.copies = Copies(run.towers, self.momentum)
        kinds = (*SIDES, *(f"altered_{side}" for side in SIDES))
        self.queues = Queues(kinds, min(self.size, len(run.data)), run.dim())

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]; what is to be queued waits for `after`."""
        z = {side: run.encode(side, batch, altered=False) for side in SIDES}
        with torch.no_grad():
            altered = {f"altered_{side}": run.encode(side, batch, tower=self.copies[side]) for side in SIDES}
        columns = {**z, **altered}
        losses = {}
        for side in SIDES if run.recipe.both_ways else SIDES[:1]:
            for kind in (k for k in columns if k != side):
                # Given negatives are documents: they stand beside queries that look for documents.
                reverse = side == "document" or kind == "altered_query"
                pairs = run.pairing(z[side], columns[kind], batch, reverse=reverse)
                losses[f"{side} to {kind.replace('_', ' ')}"] = run.contrast(self.queues.behind(pairs, kind))
        self._new, self._keys = columns, run.keys(batch)
        return {name: loss / len(losses) for name, loss in losses.items()}

    def after(self, run: Any) -> None:
        """Move the copies towards the towers and put the batch into the queues."""
        self.copies.move(run.towers)
        self.queues.put(self._new, self._keys, run)
