"""Records of a picture and a text: aligned by their own pairs, then pooled, so that records of one entity meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Keys, Relation
from tellapart.parts.strategy._entities import Members
from tellapart.parts.strategy._mined import ROWS, drawn, known


@part(
    paper="Arora, Yang, Jheng, Dell: Linking Representations with Multimodal Contrastive Learning, arXiv 2023",
    place="pairs",
    system="clippings",
    traits=("two-sides", "products"),
    needs=("torch",),
)
class Clippings(nn.Module):
    """Records of one entity meet by the mean of their picture's and their text's vectors, after both were aligned.

    Formula, with vectors t_i and v_i of length 1 of record i's text and picture, |x| the vector of length 1, and l the
    recipe's objective, in the share `first` of all steps (self-supervision, no labels)

        L = 1/2 mean_i l(rows t_i against columns v_j) + 1/2 mean_i l(rows v_i against columns t_j)

    where the record's own is the only positive and records known to be of its entity are no negatives; then

        e_i = | t_i + v_i |
        L = mean_i l(rows e_i against columns e_j, e_j' and e_h)

    over the other records j of the batch, for each of them another record j' of its entity, drawn anew in each step,
    and `draws` of the row's own hard negatives h: the `depth` records of other entities whose e is nearest. These are
    mined over all records when the second stage begins and again every `refresh` steps. Columns of the row's entity are
    its positives, those of others its negatives; `objective=supcon` is the paper's loss in both stages.

    The entity of a record is its `target` (--column target=NAME). A record without one, or alone in its entity, learns
    in the first stage; in the second, one without an entity is nobody's negative, since it may be anybody's match.
    Where no two records share an entity, all steps are of the first stage.

    What was taken: the two losses, pooling by the mean and negatives mined off-line by nearest neighbours are the
    paper's. How often it mines could not be verified: here every `refresh` steps. It puts the neighbours into one batch
    with the row; here they are columns of the row alone, so any sampler may be used. It pretrains and tunes in two
    trainings; here one schedule of the learning rate runs through both.

    Use it for linking tables where both picture and text are unreliable, each in its own way: `tellapart link A B --run
    RUN` pools both sides of a run, without torch. Mined negatives of the data and `both_ways` are not looked at.

    Args:
        first: share of the steps that belong to the first stage; 1 needs no labels.
        refresh: steps from one mining to the next.
        depth: how many hard negatives a record keeps.
        draws: how many of them it meets at a step; 0 mines nothing.

    Raises `PartError` for one column, and with a guide.

    Relations: `samestyle-vl` searches every form with every form, from the start and without mining; `two-tower` with
    the same targets lets texts find pictures alone; `ance` mines in the same way for queries and documents.
    """

    negatives: Tensor
    mined: Tensor

    def __init__(
        self,
        *,
        first: Annotated[float, Field(ge=0, le=1)] = 0.5,
        refresh: Annotated[int, Field(ge=1, le=1_000_000)] = 50,
        depth: Annotated[int, Field(ge=1, le=10_000)] = 20,
        draws: Annotated[int, Field(ge=0, le=1_000)] = 4,
    ) -> None:
        super().__init__()
        self.first, self.refresh, self.depth, self.draws = first, refresh, depth, draws

    def begin(self, run: Any) -> None:
        """Note who shares an entity with whom, and lay out the lists of hard negatives, empty."""
        if run.data.same_space:
            raise PartError("clippings pools a picture and a text of each record, and here both sides are one column")
        if run.data.guide is not None:
            raise PartError("clippings compares whole records, of which the guide has no opinion: leave relate out")
        n, self._members = len(run.data), Members(run.data.keys)
        wide = min(self.depth, n - 1) if self.draws and bool(self._members.paired.any()) else 0
        self.register_buffer("negatives", torch.full((n, wide), -1, dtype=torch.int64))
        self.register_buffer("mined", torch.full((), -1, dtype=torch.int64))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        if run.step < round(self.first * run.steps) or not bool(self._members.paired.any()):
            t, v, keys = run.encode("query", batch), run.encode("document", batch), run.keys(batch)
            there, back = self._own_pairs(run, t, v, keys), self._own_pairs(run, v, t, keys)
            return {"text to picture": there / 2, "picture to text": back / 2}
        if self.negatives.shape[1] and (int(self.mined) < 0 or run.step - int(self.mined) >= self.refresh):
            self._mine(run)
        return {"pooled": self._entities(run, batch)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _own_pairs(self, run: Any, q: Tensor, k: Tensor, keys: Keys) -> Tensor:
        """The loss of each row's own other half among those of the batch, less records known to be of its entity."""
        cols = _gathered(run, keys)
        rel = Relation.of_keys(replace(keys, target=keys.item), replace(cols, target=cols.item))
        same = (keys.target[:, None] == cols.target) & (cols.target >= 0)
        return torch.as_tensor(run.loss_of(Encoded(q, run.gather(k), rel.without_negatives(same)), keys.item))

    def _entities(self, run: Any, batch: np.ndarray) -> Tensor:
        """The loss of pooled records against the batch, records of the same entities and hard negatives."""
        n, rows, partner = len(batch), torch.from_numpy(batch), self._members.partners(batch, run.draw("partners"))
        hard = torch.zeros(n, 0, dtype=torch.int64)
        if self.negatives.shape[1]:
            draws = RowDraws(run.draw("hard negatives"), run.data.keys.item[rows])
            hard = drawn(self.negatives[rows.to(self.negatives.device)].cpu(), draws, self.draws)
        wanted = np.concatenate([batch, partner, hard.clamp_min(0).flatten().numpy()])
        e = unit(run.encode("query", wanted) + run.encode("document", wanted))
        cols, columns = _gathered(run, run.keys(wanted[: 2 * n])), run.gather(e[: 2 * n])
        alone = torch.from_numpy(np.append(np.zeros(n, bool), partner == batch))
        kept = (cols.target >= 0) & ~run.gather(alone.to(e.device))
        own = run.keys(batch)
        enc = Encoded(e[:n], columns[kept], Relation.of_keys(own, cols[kept], same_space=True))
        if hard.shape[1]:
            there = (hard >= 0).to(e)
            enc = enc.with_own(e[2 * n :].view(*hard.shape, -1), torch.zeros_like(there), there)
        return torch.as_tensor(run.loss_of(enc, own.item))

    @torch.no_grad()
    def _mine(self, run: Any) -> None:
        """Write down the nearest records of other entities for every record that has a match."""
        keys, e = run.data.keys, unit(run.encode_all("query") + run.encode_all("document"))
        self.negatives.fill_(-1)
        for rows in torch.nonzero(self._members.paired)[:, 0].split(ROWS):
            out = known(keys, rows) | (keys.target < 0)
            best = (e[rows.to(e.device)] @ e.T).masked_fill(out.to(e.device), -torch.inf).topk(self.negatives.shape[1])
            self.negatives[rows] = best.indices.masked_fill(best.values.isneginf(), -1)
        self.mined.fill_(run.step)


def _gathered(run: Any, keys: Keys) -> Keys:
    """The identities of all processes' rows, one after the other."""
    return Keys(*(run.gather(x) for x in (keys.item, keys.group, keys.target)))
