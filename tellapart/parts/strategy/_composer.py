"""What strategies of composed queries share: the learnt module, a batch of triplets, and what is right for whom.

A triplet is a reference picture (column `other_image`), a change in words (`text`) and the picture that comes out
(`image`). Reference and target go through one tower, that of the documents, so that any item of the index can be a
reference as it lies there. A strategy builds its module in `begin` and keeps it as `self.composer`, with
`joins = "composer"` and the traits `sides` and `composed`; the engine does the rest (`engine/together.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tellapart.core.composing import NORM_FLOOR
from tellapart.core.composing import Composer as Saved
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.relation import Relation

REFERENCE = "other_image"


class Composer(nn.Module):
    """Base of the learnt modules: `moved(r, t)` in torch is what `core.composing.KINDS[kind]` is in numpy.

    Attributes:
        kind: the name there.
        heads: of its attention.
    """

    kind = ""
    heads = 1

    def moved(self, r: Tensor, t: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, r: Tensor, t: Tensor, there: Tensor | None = None) -> Tensor:
        """[n, d] unit queries of [n, d] references and changes; where a reference is not `there`, the change alone."""
        q = self.moved(r, t)
        if there is not None:
            q = torch.where(there[:, None], q, t)
        return F.normalize(q, dim=1)

    def saved(self) -> Saved:
        """The same in numpy."""
        state = {name: x.detach().float().cpu().numpy().copy() for name, x in self.state_dict().items()}
        return Saved(self.kind, state, self.heads)


class Gated(Composer):
    """A share of each, and what one hidden layer over both adds; it begins as their sum.

    `g r + (1 - g) t + W2 h + b2`, h = relu(W1 [r, t] + b1), g = sigmoid(a h + c) one number (the combiner of Baldrati
    et al., 2022, without its two first projections, which the towers' heads are).
    """

    kind = "gated"

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.gate, self.out = nn.Linear(2 * dim, hidden), nn.Linear(hidden, 1), nn.Linear(hidden, dim)
        for layer in (self.gate, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def moved(self, r: Tensor, t: Tensor) -> Tensor:
        h = F.relu(self.hidden(torch.cat([r, t], 1)))
        share = torch.sigmoid(self.gate(h))
        moved: Tensor = share * r + (1 - share) * t + self.out(h)
        return moved


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, asking), (self.k, asked), (self.v, asked))
        )
        found: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return found


class _Layer(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=NORM_FLOOR), nn.LayerNorm(dim, eps=NORM_FLOOR)
        self.attention, self.wide, self.narrow = (
            _Attention(dim, heads),
            nn.Linear(dim, 4 * dim),
            nn.Linear(4 * dim, dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y)
        x = x + self.narrow(F.relu(self.wide(self.norm2(x))))
        return x


class Attentive(Composer):
    """Both vectors as tokens through layers of self-attention, pooled by a learnt query, added to the reference."""

    kind = "attention"

    def __init__(self, dim: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise PartError(f"a width of {width} cannot be shared by {heads} heads: give a multiple of it")
        self.heads = heads
        self.enter, self.leave = nn.Linear(dim, width), nn.Linear(width, dim)
        self.kinds = nn.Parameter(torch.zeros(2, width))
        self.asking = nn.Parameter(torch.randn(1, width))
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm, self.pool = nn.LayerNorm(width, eps=NORM_FLOOR), _Attention(width, heads)

    def moved(self, r: Tensor, t: Tensor) -> Tensor:
        x = self.enter(torch.stack([r, t], 1) * r.shape[1] ** 0.5) + self.kinds
        for layer in self.layers:
            x = layer(x)
        pooled = self.pool(self.asking.expand(len(r), -1, -1), self.norm(x))[:, 0]
        moved: Tensor = r + self.leave(pooled)
        return moved


def made(run: Any, build: Callable[[], Composer]) -> Composer:
    """A module whose first numbers are the run's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.draw("composer"))
        return build()


@dataclass(frozen=True)
class Triplets:
    """A batch: unit vectors [n, d] of references (zeros where there is none), changes and targets.

    Attributes:
        there: [n] bool, which have a reference.
        picture: [n, 2] numbers of the target's and of the reference's picture, -1 for none; equal: one picture.
    """

    r: Tensor
    t: Tensor
    z: Tensor
    there: Tensor
    picture: Tensor


def check_composed(run: Any, part: str) -> None:
    """Refuse data without a reference, and guides, which have no opinion of a composed query."""
    if REFERENCE not in run.data.others or "pictures" not in run.data.extra:
        raise PartError(
            f"{part} learns from a reference picture and what is to change: give columns `{REFERENCE}`, `text` and "
            "`image` (the picture that comes out), and use tellapart run or compare"
        )
    if run.data.guide is not None:
        raise PartError(
            f"{part} searches with a reference and words, and the guide has no opinion of them: leave relate out"
        )


def pictures(run: Any, rows: np.ndarray) -> Tensor:
    """[n, 2] numbers of the target's and the reference's picture."""
    return torch.from_numpy(run.data.extra["pictures"][rows]).to(run.device)


def reference(run: Any, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """([n, d] vectors of the references, zeros where there is none; [n] bool which there are)."""
    there = pictures(run, rows)[:, 1] >= 0
    r = run.encode(REFERENCE, rows, tower=run.towers["document"])
    return torch.where(there[:, None], r, 0.0), there


def triplets(run: Any, rows: np.ndarray) -> Triplets:
    """The vectors of a batch of row numbers."""
    r, there = reference(run, rows)
    return Triplets(r, run.encode("query", rows), run.encode("document", rows), there, pictures(run, rows))


def right(run: Any, rows: np.ndarray, picture: Tensor) -> tuple[Tensor, Tensor]:
    """(positives, negatives): [n, m] float weights of pictures by number [m] for the questions of some rows.

    Right is every picture that training gives as an answer to the same reference and words; a duplicate of the row's
    own answer is neither, and so is number -1.
    """
    extra = run.data.extra
    answers = torch.from_numpy(extra["answers"][extra["asked"][rows]]).to(run.device)
    pos = torch.zeros(len(rows), len(picture), dtype=torch.bool, device=run.device)
    for column in answers.unbind(1):
        pos |= (column[:, None] == picture) & (column >= 0)[:, None]
    group = torch.from_numpy(extra["picture_group"]).to(run.device)
    own, theirs = run.keys(rows).group, torch.where(picture >= 0, group[picture.clamp_min(0)], -1)
    same = (own[:, None] == theirs) & (theirs >= 0)
    neg = ~pos & ~same & (picture >= 0)
    return pos.float(), neg.float()


def found_among(run: Any, rows: np.ndarray, q: Tensor, k: Tensor, picture: Tensor) -> Encoded:
    """Queries of some rows against pictures of given numbers, for `run.loss_of`."""
    return Encoded(q, k, Relation(*right(run, rows, picture)))


def contrast(run: Any, rows: np.ndarray, q: Tensor, z: Tensor, *, own: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """The recipe's objective over queries against the targets of the batch, of all processes.

    Args:
        own: ([n, s, d], [n, s]) further negatives of each row's own and their weights.
    """
    everyone, numbers = run.gather(z), run.gather(pictures(run, rows)[:, 0].contiguous())
    enc = found_among(run, rows, q, everyone, numbers)
    if own is not None:
        enc = enc.with_own(own[0], torch.zeros_like(own[1]), own[1])
    loss: Tensor = run.loss_of(enc, run.keys(rows).item)
    return loss
