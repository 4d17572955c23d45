from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Keys
from tellapart.parts.strategy._proxies import against, laid_out

TIE = 8


@part(
    paper="Jung et al., Unified Negative Pair Generation toward Well-discriminative Feature Space for Face "
    "Recognition, arXiv 2022",
    place="pairs",
    system="unpg",
    needs=("torch",),
)
class Unpg(nn.Module):
    """Every row is told from the other classes' vectors and from the negative pairs of the whole batch at once.

    Formula, for row i of class y, unit class vectors w, margin m and temperature T of the objective::

        S   = cosines of all pairs of the batch's items that are of two classes
        S'  = those in [Q1 - whisker * (Q3 - Q1), Q3 + whisker * (Q3 - Q1)],  Q1 and Q3 the quartiles of S
        L_i = -log( e^((z_i.w_y - m) / T) / (e^((z_i.w_y - m) / T) + sum_c!=y e^(z_i.w_c / T) + sum_S' e^(s / T)) )

    which is `objective="cosface"`; the same kept pairs stand in every row's denominator, with a gradient to both of
    their items. Class vectors see all classes but drift to the middle of theirs, pairs see hard cases but few classes:
    each makes up for the other. The box and whiskers take out pairs that are closer than any honest ones (a wrong
    label) and those too far apart to matter.

    The quartiles are the sorted cosines at places int(n / 4) and int(3 n / 4), as in the authors' code, which is where
    the whisker of 1.5 comes from; a cosine that only rounding tells from a whisker is kept. Here members of a duplicate
    group are no pair, items without a label are in none, and in a collection of two sides a pair is one item of each.
    Processes that train together take pairs among all their items (the authors' code does not).

    Args:
        whisker: how far the whiskers reach, in lengths of the box.

    When to use: labelled collections with many classes that must be told apart by one cut-off, labels partly wrong.
    The pairs are as many as half the square of the batch, each a column: batches of some hundred. With low temperatures
    the pairs outweigh the class vectors; `temperature` is to be tuned anew.

    Relations: `class-proxies` with the same objective is it without pairs, its baseline.
    """

    def __init__(self, *, whisker: Annotated[float, Field(ge=0, le=100)] = 1.5) -> None:
        super().__init__()
        self.whisker = whisker

    def begin(self, run: Any) -> None:
        """Draw the class vectors."""
        self.vectors, self._keys = laid_out(run, "unpg")

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        sides = ["query"] if run.data.same_space else ["query", "document"]
        z = {side: run.encode(side, batch) for side in sides}
        everyone = [run.gather(z[side]) for side in (sides[0], sides[-1])]
        known = run.keys(batch)
        keys = Keys(run.gather(known.item), run.gather(known.group), run.gather(known.target))
        kept = self._kept(*everyone, keys, same=run.data.same_space)
        # A last coordinate, 1 in rows and the pair's cosine in its column, gives the column one score in all rows.
        pairs = nn.functional.pad(kept[:, None], (z[sides[0]].shape[1], 0))
        columns = torch.cat([nn.functional.pad(unit(self.vectors), (0, 1)), pairs])
        nothing = torch.arange(len(kept)) + torch.iinfo(torch.int64).min
        column_keys = Keys.cat(self._keys, Keys(nothing, nothing, torch.full_like(nothing, -1)))
        losses = {}
        for side, vectors in z.items():
            rows = nn.functional.pad(vectors, (0, 1), value=1.0)
            losses[side] = against(run, rows, batch, columns, column_keys) / len(sides)
        return losses

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _kept(self, a: Tensor, b: Tensor, keys: Keys, *, same: bool) -> Tensor:
        """[p] cosines of the pairs of two classes, one of `a` and one of `b`, that lie within the whiskers."""
        target, group = keys.target, keys.group
        wrong = (target[:, None] != target) & (group[:, None] != group) & (target >= 0) & (target >= 0)[:, None]
        cosines = (a @ b.T)[wrong.triu(1) if same else wrong]
        if not len(cosines):
            return cosines
        ordered = cosines.detach().sort().values
        low, high = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
        reach = self.whisker * (high - low) + TIE * torch.finfo(ordered.dtype).eps
        return cosines[(cosines.detach() >= low - reach) & (cosines.detach() <= high + reach)]
