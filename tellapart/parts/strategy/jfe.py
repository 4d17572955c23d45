"""One tower takes pictures, words and both together, token by token, from its first layer on."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.core.relation import Relation
from tellapart.parts.strategy._composer import REFERENCE, pictures, right


@part(
    paper="Huang, Wu, Miao, Yamasaki: Joint Fusion and Encoding: Advancing Multimodal Retrieval from the Ground Up, "
    "arXiv 2502.20008, 2025",
    place="train",
    system="jfe",
    traits=("two-sides", "fusion"),
    needs=("torch",),
)
class Jfe(nn.Module):
    """A picture, words, or a picture with words go into one small transformer together (early fusion).

    Formula, for a picture of cells c_1, ..., c_4 and words of pieces w_1, ..., w_t under the frozen encoders::

        f(c, w) = the last state of a learnt token that stands after E c_1, ..., E c_4, F w_1, ..., F w_t in `layers`
                  layers of self-attention (`joint-tower`), brought to length 1; what is not known is left out
        stage 1, in the share `first` of the steps: of the rows without a reference,
                  L = l(f(w_i); right: f(c_i)) / 2 + l(f(c_i); right: f(w_i)) / 2
        stage 2:  L = l(f(r_i, w_i); right: f(c_i); wrong: the other targets of the batch) / 2, all rows, with or
                  without a reference r_i, + l(f(c_i); right: f(w_i)) / 2 of the rows without one

    with l the recipe's objective. So the same tower makes queries and candidates, and words already look at the picture
    in the first layer. All targets that training gives for one reference and words are right for them; equal targets
    are right for each other's words; duplicates are neither. Where all rows have references there is no stage 1 and no
    second term; where none has, both stages are the symmetric loss of pairs (`both_ways`).

    What differs from the paper: a multimodal language model is there adapted as a whole, first by contrast on plain
    pairs, then on mixed tasks with instructions; here the encoders are frozen and a small transformer above them learns
    from nothing, without instructions and without the mask that lets a token see earlier ones only. Its batches, hard
    negatives and data mix could not be read. Candidates of a picture with words are not indexed.

    Rows: `image` and `text`, and `other_image` where the text says what is to change in that picture; rows with and
    without it may stand in one table. Try `combiner` first: it begins as the sum of two vectors, takes about a seventh
    of the time, and with some two thousand rows it finds more (see the evidence); whether many more rows turn that
    round was not tried. A picture takes 20 KiB of memory, a text of 24 pieces 36. Cells come
    from `image=lite0`; under an encoder without them a picture is one token.

    Args:
        first: share of the steps of stage 1.
        width, layers: of the transformer; `width` is that of the vectors too.
        words: pieces of a text that are read.

    Raises `PartError` for a guide, and outside of `tellapart run` and `compare`, which make the towers.

    Relations: `combiner` and `magiclens` fuse one vector of each (late fusion); `two-tower` has a tower a side.
    """

    joins = "composer"

    def __init__(
        self,
        *,
        first: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        width: Annotated[int, Field(ge=8, le=8192)] = 128,
        layers: Annotated[int, Field(ge=1, le=24)] = 2,
        words: Annotated[int, Field(ge=1, le=512)] = 24,
    ) -> None:
        super().__init__()
        self.first, self.width, self.layers, self.words = first, width, layers, words

    def begin(self, run: Any) -> None:
        """Put both entrances before the one tower."""
        towers = run.towers["query"], run.towers["document"]
        if not all(hasattr(tower, "joint") for tower in towers):
            raise PartError("jfe trains one tower of tokens: use tellapart run or compare, and leave head as it is")
        if run.data.guide is not None:
            raise PartError("jfe has no use of a guide, which has no opinion of tokens: leave relate out")
        self.composer = towers[0].joint(towers[1])
        self.refers = REFERENCE in run.data.others and "pictures" in run.data.extra
        self.plain = float((run.data.extra["pictures"][:, 1] < 0).mean()) if self.refers else 1.0
        self.composer.plain.fill_(self.plain)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        z = run.encode("document", batch)
        if not self.refers:
            q = run.encode("query", batch)
            loss = run.contrast(run.pairing(q, z, batch))
            if not run.recipe.both_ways:
                return {"query": loss}
            return {"query": loss / 2, "document": run.contrast(run.pairing(z, q, batch, reverse=True)) / 2}
        alone = pictures(run, batch)[:, 1] < 0
        first = self.plain > 0 and run.step < round(self.first * run.steps)
        q = self._fused(run, batch, ~alone)
        number, item = run.gather(pictures(run, batch)[:, 0].contiguous()), run.keys(batch).item
        pos, neg = right(run, batch, number)
        kept = alone if first else torch.ones_like(alone)
        query = run.loss_of(Encoded(q, run.gather(z), _of_rows(pos, neg, kept)), item)
        if not self.plain or not run.recipe.both_ways:
            return {"query": query}
        back = Encoded(z, run.gather(q), self._back(run, batch, alone, number))
        return {"query": query / 2, "document": run.loss_of(back, item) / 2}

    def _fused(self, run: Any, batch: np.ndarray, there: Tensor) -> Tensor:
        """[n, d] vectors of words with their references, where there is one."""
        r, t = (run.data.side(name).batch(batch, seed=None).to(run.device) for name in (REFERENCE, "query"))
        x = torch.cat([torch.where(there[:, None], r, 0.0), t], 1)
        q: Tensor = run.through(self.composer, x)
        return q

    @staticmethod
    def _back(run: Any, batch: np.ndarray, alone: Tensor, number: Tensor) -> Relation:
        """Which words without a reference are right for the pictures of such rows; nothing for the other rows."""
        asked = torch.from_numpy(run.data.extra["asked"][batch]).to(run.device)
        group, mine = run.keys(batch).group, pictures(run, batch)[:, 0]
        pos = (asked[:, None] == run.gather(asked)) | (mine[:, None] == number)
        neg = ~pos & ((group[:, None] != run.gather(group)) | (group < 0)[:, None])
        theirs = run.gather(alone)
        return _of_rows((pos & theirs).float(), (neg & theirs).float(), alone)

    def after(self, run: Any) -> None:
        """Nothing to keep."""


def _of_rows(pos: Tensor, neg: Tensor, kept: Tensor) -> Relation:
    return Relation(pos * kept[:, None], neg * kept[:, None])
