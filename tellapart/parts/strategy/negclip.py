from __future__ import annotations

import hashlib
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.nearest import nearest
from tellapart.core.parts import part
from tellapart.core.relation import Keys, Relation
from tellapart.parts.strategy._sides import loss_of

DRAWS = 8


@part(
    paper="Yuksekgonul, Bianchi, Kalluri, Jurafsky, Zou: When and Why Vision-Language Models Behave like "
    "Bags-of-Words, and What to Do About It?, ICLR 2023",
    place="pairs",
    system="negclip-aro",
    traits=("two-sides", "contrary"),
    needs=("torch",),
)
class Negclip(nn.Module):
    """Captions with two words exchanged are negatives of every picture, and every batch holds pictures that are alike.

    For the n pairs of a batch one of the `neighbours` nearest pictures of each is drawn, by frozen features, and comes
    in with its caption; of the N = 2 n pairs, picture q_i, caption k_i and caption with words exchanged w_i (texts:
    question, answer, answer that is none), L the recipe's objective::

        pictures = mean_i L(q_i; k_i, all other k and all w)          N rows, 2 N columns
        captions = mean_i L(k_i; q_i, all other q)                    N rows, N columns
        loss     = (pictures + captions) / 2

    A w that is the caption of a row, or of a pair that is no negative of the row, is no negative either, and one in
    which nothing could be exchanged is none to anybody. Whether two are the same is seen on what goes into the tower.

    Taken: B x 2B in one direction alone, the two captions of alternative pictures, one alternative a picture, K = 3.
    There CLIP is tuned and its vectors say which pictures are alike; here they are the frozen features, or, where the
    encoder of pictures is trained too, the towers' vectors at the beginning. With few items an alternative is in the
    batch twice, which is as positive as it is once.

    Args:
        neighbours: K, of which one is drawn at every step; 0: no alternative pictures, and half the rows.

    When to use: pictures with captions in which the order of words matters. Needs something that makes the wrong
    captions: `augment=swap-words`. Costs about three times the texts of `two-tower`, and twice the pictures.

    In our record captions with colours or shapes exchanged are told better by 2 to 4 points, and R@1 rises. Of names
    of drawings, hundreds that were seen a few times each, R@1 rises too, but exchanged ones are told by nobody.

    Raises `PartError` where nothing makes wrong captions, for one column, with `both_ways=false` and with guides.

    Relations: `degla` takes wrong captions that are given, and holds the model to what it was; with its weights at 0
    it is this loss without alternatives. `sample4geo` fills batches with what is alike by the towers as they learn.
    """

    near: Tensor

    def __init__(self, *, neighbours: Annotated[int, Field(ge=0, le=1000)] = 3) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("near", torch.zeros(0, 0, dtype=torch.long))

    def begin(self, run: Any) -> None:
        """See which side is altered, and which items of the other are alike."""
        data, some = run.data, np.arange(min(64, len(run.data)))
        if data.same_space:
            raise PartError("negclip needs pairs, such as pictures with captions: use two-tower for one column")
        if not run.recipe.both_ways:
            raise PartError("negclip compares pictures with captions and captions with pictures: leave both_ways=true")
        if data.guide is not None or run.chain.mates:
            raise PartError(
                "negclip has columns that no guide knows and that are half of no pair: leave relate, augment"
            )
        altered = [side for side in ("document", "query") if _is_altered(data.side(side), some)]
        if not altered:
            raise PartError("negclip learns from captions with words exchanged, and nothing exchanges any: set "
                            "augment=swap-words")  # fmt: skip
        self._caption = altered[0]
        self._picture = "query" if self._caption == "document" else "document"
        count = min(self.neighbours, len(data) - 1)
        side = data.side(self._picture)
        if count:
            x = run.encode_all(self._picture) if side.encodes else side.batch(np.arange(len(data)), seed=None)
            z = np.ascontiguousarray(nn.functional.normalize(x.float(), dim=1).cpu().numpy())
            found = nearest(z, [z], count + 1)[1]
            own = found == np.arange(len(z))[:, None]
            place = np.argsort(own, axis=1, kind="stable")[:, :count]
            self.near = torch.from_numpy(np.take_along_axis(found, place, 1).astype(np.int64))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        if self.near.numel():
            item = run.data.keys.item[torch.from_numpy(batch)]
            drawn = RowDraws(run.draw("alternatives"), item).integers(self.near.shape[1], 1)
            other = self.near.cpu()[torch.from_numpy(batch)].gather(1, drawn)[:, 0].numpy()
            batch = np.concatenate([batch, other])
        inputs, seed = run.data.side(self._caption), run.draw(self._caption)
        plain, moved = inputs.batch(batch, seed=None), inputs.batch(batch, seed=seed)
        code, wrong = (_codes(x).to(run.device) for x in (plain, moved))
        tower, pixels = run.towers[self._caption], run.data.side(self._picture).batch(batch[:1], seed=None).ndim == 4
        q = run.encode(self._picture, batch, altered=pixels)
        k, w = run.through(tower, plain.to(run.device)), run.through(tower, moved.to(run.device))
        rows = run.keys(batch)
        cols = Keys(*(run.gather(getattr(rows, f)) for f in ("item", "group", "target")))
        rel = Relation.of_keys(rows, cols)
        code, wrong = run.gather(code), run.gather(wrong)
        said = (code[:, None] == wrong).to(rel.neg)  # by a pair; one that is no negative of a row says none either
        free = ((rel.neg == 0).to(rel.neg) @ said == 0) & (wrong != code)
        both = rel.with_columns(torch.zeros_like(rel.neg), free.to(rel.neg))
        pictures = loss_of(run, Encoded(q, torch.cat([run.gather(k), run.gather(w)]), both), rows)
        captions = loss_of(run, Encoded(k, run.gather(q), rel), rows)
        return {"pictures": pictures / 2, "captions": captions / 2}

    def after(self, run: Any) -> None:
        """Nothing to keep."""


def _is_altered(inputs: Any, some: np.ndarray) -> bool:
    """Whether the words of a side are altered; pictures, [n, 3, h, w], are not asked about."""
    plain = inputs.batch(some, seed=None)
    drawn = (inputs.batch(some, seed=seed) for seed in range(DRAWS))
    return plain.ndim < 4 and any(x.shape != plain.shape or not torch.equal(x, plain) for x in drawn)


def _codes(inputs: Tensor) -> Tensor:
    """[n] int64, equal for equal inputs; padding behind the tokens of a text does not count."""
    found = []
    for row in inputs.cpu().numpy():
        used = np.flatnonzero(np.atleast_2d(row).any(0))
        kept = np.ascontiguousarray(row[..., : used[-1] + 1 if len(used) else 0])
        found.append(int.from_bytes(hashlib.blake2b(kept.tobytes(), digest_size=8).digest(), "little", signed=True))
    return torch.tensor(found)
