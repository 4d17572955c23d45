from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.core.relation import Relation
from tellapart.parts.strategy._proxies import laid_out

MOST = 2048
TINY = 1e-12


@part(
    paper="Wu, Atito, Feng, Mo, Kittler, Awais: Rethinking Positive Pairs in Contrastive Learning, arXiv 2024 (Hydra, "
    "later SimLAP)",
    place="pairs",
    system="hydra-pairs",
    traits=("labels",),
    needs=("torch",),
    aliases=("simlap",),
)
class HydraPairs(nn.Module):
    """Items of any two classes are positives, in a subspace that the two classes open for each other.

    Every class has a learnt vector e, and a pair of classes a gate over the d numbers of the space::

        g_ab = sigmoid( second( norm( relu( first( norm( relu( (e_a + e_b) / 2 ) ) ) ) ) ) ),   0 < g < 1, g_ab = g_ba

    Row i of class a draws a second class b: that of an item drawn evenly from the batch, so that b = a comes as often
    as the class does. Scores are cosines in the subspace, those of class b are positives, and those of neither a nor b
    negatives, for the recipe's objective (the paper's: `infonce`, temperature 0.1)::

        s_ij = cos(g_ab * z_i, g_ab * z_j),    positives j of class b,    negatives j of no class of {a, b}

    Towers, class vectors and gates train together. What is searched is z without a gate.

    Read in the paper and the authors' code: the gate from the mean of two label vectors, the masks, the cosine after
    the gate (another of their programs multiplies unit vectors by the gate squared), the temperature. Different from
    it: layers are normalised by item, not by batch, so that a gate hangs on its two classes alone; label vectors have
    d numbers (512 there); the loss is a mean over rows of the mean over positives, there over all pairs of the batch;
    the second class is drawn, there the batch's labels are shuffled; gates are on the vectors that are searched, there
    on a projection that is dropped, beside a classifier. A penalty that makes gates binary, which the paper's later
    version names, is not in the code that was read, and not here. Members of a duplicate group are no negatives; items
    without a label are left out; processes that train together pair among all their items.

    Args:
        hidden: width of the gates' hidden layer; the paper's is 1024.

    When to use: labelled collections of some tens of classes whose vectors shall tell more than these classes: new
    ones, or how they are related (`overlap`). Where only the trained classes count, `supcon` is plainer.

    Relations: `supcon` with `two-tower` has positives of the own class alone, and no gate; `class-proxies` class
    vectors as columns.
    """

    def __init__(self, *, hidden: Annotated[int, Field(ge=1, le=65_536)] = 256) -> None:
        super().__init__()
        self.hidden = hidden

    def begin(self, run: Any) -> None:
        """Draw the class vectors and the layers of the gates."""
        if run.chain.augment:
            raise PartError(f"hydra-pairs scores within gates, and augment={run.recipe.augment} without: leave it out")
        self.vectors, keys = laid_out(run, "hydra-pairs")
        if not 3 <= len(keys) <= MOST:
            words = "two are told from a third" if len(keys) < 3 else f"every two are a pair, and {MOST} are the most"
            raise PartError(f"hydra-pairs cannot use {len(keys)} classes: {words}")
        target = run.data.keys.target[run.data.keys.target >= 0]
        count = torch.bincount(torch.searchsorted(keys.target, target))
        if int((count == 1).sum()) * 2 > len(target):
            raise PartError("hydra-pairs needs labels that several items share, and here most appear once")
        self.register_buffer("classes", keys.target.clone())
        d, draw = self.vectors.shape[1], torch.Generator().manual_seed(run.draw("gates of hydra-pairs"))
        self.first = nn.Parameter(torch.randn(self.hidden, d, generator=draw) * (2 / d) ** 0.5)
        self.second = nn.Parameter(torch.randn(d, self.hidden, generator=draw) / self.hidden**0.5)
        self.inner, self.outer = nn.Parameter(torch.zeros(self.hidden)), nn.Parameter(torch.zeros(d))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        known = run.keys(batch)
        item, group, target = (run.gather(getattr(known, field)) for field in ("item", "group", "target"))
        kept = target >= 0
        code = torch.searchsorted(self.classes, target[kept])
        sides = ["query"] if run.data.same_space else ["query", "document"]
        z = {side: run.gather(run.encode(side, batch))[kept] for side in sides}
        rows = sides if run.recipe.both_ways else sides[:1]
        if not len(code):
            return dict.fromkeys(rows, sum(x.sum() for x in [*z.values(), *self.parameters()]) * 0)
        item, group, losses = item[kept], group[kept], {}
        for side in rows:
            q, k = z[side], z[sides[-1] if side == "query" else "query"]
            draws = RowDraws(run.draw(f"hydra-pairs {side}"), item)
            other = code[draws.integers(len(code), 1)[:, 0]]
            pos = other[:, None] == code
            neg = ~pos & (code[:, None] != code) & (group[:, None] != group)
            if run.data.same_space:
                pos &= item[:, None] != item
            enc = Encoded(q, k, Relation(pos.float(), neg.float()))
            value, count = run.chain(enc.with_scores(_within(self.gates(code, other), q, k)), draws=draws)
            losses[side] = value / count.clamp_min(1) / len(rows)
        return losses

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def gates(self, a: Tensor, b: Tensor) -> Tensor:
        """[n, d] gates of pairs of classes; `a` and `b` are [n] places in `classes`."""
        e = torch.relu((self.vectors[a] + self.vectors[b]) / 2)
        inner = torch.relu(layer_norm(e, e.shape[1:]) @ self.first.T + self.inner)
        return torch.sigmoid(layer_norm(inner, inner.shape[1:]) @ self.second.T + self.outer)

    @torch.no_grad()
    def overlap(self) -> Tensor:
        """[c, c] in 0..1, how far two classes open the same numbers: sum_k min(g_aa, g_bb) / sum_k max(g_aa, g_bb).

        Rows and columns are `classes`, the codes of the labels in sorted order. The paper shows relations by its gates;
        this measure of them is ours.
        """
        every = torch.arange(len(self.classes), device=self.classes.device)
        g = self.gates(every, every)
        rows = [torch.minimum(x, g).sum(1) / torch.maximum(x, g).sum(1) for x in g]
        return torch.stack(rows)


def _within(gate: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """[n, m] cosines of rows [n, d] and columns [m, d], both times the row's gate [n, d]; nothing of size n m d."""
    square = gate * gate
    length = (square * q * q).sum(1, keepdim=True) * (square @ (k * k).T)
    return (square * q) @ k.T / length.clamp_min(TINY).sqrt()
