from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.mixing import mix
from tellapart.core.parts import part
from tellapart.core.relation import Keys, Relation

OTHER, SHARE, BELOW, ABOVE = range(4)


@part(
    paper="Wu, Dong, Chen, Zhou, Zhou: Mixup Your Own Pairs, arXiv 2023",
    place="pairs",
    system="supremix",
    traits=("scores",),
    needs=("torch",),
)
class Supremix(nn.Module):
    """Items of equal score attract each other; what repels and attracts besides is mixed so that scores come in order.

    Scores y are in standard deviations of the training scores. For row i with vector q among columns k, |x| the vector
    of length 1::

        negative between       | b q + (1 - b) k_j |,  at b y_i + (1 - b) y_j     y_j != y_i, b from Beta(alpha, beta)
        positive of two others | c k_j + (1 - c) k_l |,  at c y_j + (1 - c) y_l = y_i
                                                       y_i - window < y_j < y_i < y_l < y_i + window
        weight of a negative at y     1 + slope |y_i - y|

    Positives are these and the columns of equal score, of weight 1; negatives are those between and all other columns.
    The loss is the recipe's objective over them, for rows of both sides where there are two. Negatives near a row are
    hard, positives between two others hold only if vectors lie in order, and what differs most weighs most.

    The authors' code has the loss `supcon(temperature=0.3)`, Beta(2, 8), a window of 5 years, weights of 1 + years and
    no gradient into mixtures. It mixes all pairs of a batch and leaves their length; here `mixes` of each kind are
    drawn for a row, of unit length. It sees each item in two views; here in the two sides of a pair, or once. A year is
    here a sixteenth of the spread of the scores. Members of a duplicate group are no negatives. Labels, guides and
    mined negatives are not looked at.

    Use it for numbers to be predicted from items (ages, prices, grades, counts): a regressor is fitted on the vectors
    afterwards. With very noisy scores the order that it insists on is noise: lower `slope`, widen `window`.

    Args:
        window: how far the two of a positive may lie from the row, in standard deviations.
        slope: growth of a negative's weight with a standard deviation; 0 weighs all alike.
        mixes: points of each kind a row; 0 leaves plain positives and weighed negatives.
        alpha, beta: of the row's share in its negatives, whose mean is alpha / (alpha + beta).

    Raises `PartError` for data without scores, or with one score in all of them.

    Relations: `supcon` with `strategy=two-tower` takes tenths of the score for labels, in no order; `mochi` mixes hard
    negatives without scores.
    """

    def __init__(
        self,
        *,
        window: Annotated[float, Field(gt=0, le=100)] = 0.3,
        slope: Annotated[float, Field(ge=0, le=10_000)] = 16.0,
        mixes: Annotated[int, Field(ge=0, le=4096)] = 32,
        alpha: Annotated[int, Field(ge=1, le=64)] = 2,
        beta: Annotated[int, Field(ge=1, le=64)] = 8,
    ) -> None:
        super().__init__()
        self.window, self.slope, self.mixes, self.alpha, self.beta = window, slope, mixes, alpha, beta

    def begin(self, run: Any) -> None:
        """Look at the scores."""
        scores = run.data.extra.get("score")
        if scores is None:
            raise PartError("supremix learns from numbers: give a column `score`, or name yours with --column score=")
        scores = np.asarray(scores, dtype=np.float64)
        distinct, codes = np.unique(scores, return_inverse=True)
        if len(distinct) < 2:
            raise PartError(f"supremix orders items by their scores, and all {len(scores)} have {distinct[0]:g}")
        self._y = torch.from_numpy((scores - scores.mean()) / scores.std())
        self._code = torch.from_numpy(codes.astype(np.int64))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        q = run.encode("query", batch)
        if run.data.same_space:
            return {"query": self._loss(run, q, q, batch)}
        k = run.encode("document", batch)
        if not run.recipe.both_ways:
            return {"query": self._loss(run, q, k, batch)}
        return {"query": self._loss(run, q, k, batch) / 2, "document": self._loss(run, k, q, batch) / 2}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _loss(self, run: Any, q: Tensor, k: Tensor, batch: np.ndarray) -> Tensor:
        """The recipe's objective with rows q of this process against columns k of all."""
        known, at = run.keys(batch), torch.from_numpy(batch)
        rows = Keys(known.item, known.group, self._code[at].to(q.device))
        cols = Keys(*(run.gather(getattr(rows, f)) for f in ("item", "group", "target")))
        y = self._y[at].to(q.device)
        k, y_k = run.gather(k), run.gather(y)
        rel = Relation.of_keys(rows, cols, same_space=run.data.same_space)
        enc = Encoded(q, k, rel.weighing_negatives((1 + self.slope * (y[:, None] - y_k).abs()).float()))
        if self.mixes:
            draws = RowDraws(run.draw("supremix"), rows.item)
            enc = enc.with_own(*self._between(enc, y, y_k, draws)).with_own(*self._around(enc, y, y_k, draws))
        value, count = run.chain(enc, draws=RowDraws(run.draw("contrast"), rows.item))
        counts = run.gather(count.detach().float().view(1))
        loss: Tensor = value * len(counts) / counts.sum().clamp_min(1)
        return loss

    def _between(self, enc: Encoded, y: Tensor, y_k: Tensor, draws: RowDraws) -> tuple[Tensor, Tensor, Tensor]:
        """Negatives between a row and columns of another score: [n, mixes, d] and their weights."""
        other, found = _drawn(enc.rel.neg > 0, draws, self.mixes, OTHER)
        several = self.alpha + self.beta - 1
        uniform = draws.uniform(several * self.mixes, stream=SHARE).view(len(y), self.mixes, several)
        share = uniform.sort(2).values[:, :, self.alpha - 1]  # the alpha-th least of that many is Beta(alpha, beta)
        with torch.no_grad():
            made = mix(unit(enc.q)[:, None], unit(enc.k)[other], share[..., None])
        apart = (1 - share) * (y[:, None] - y_k[other]).abs()
        weight = torch.where(found, 1 + self.slope * apart, 0.0).float()
        return made, torch.zeros_like(weight), weight

    def _around(self, enc: Encoded, y: Tensor, y_k: Tensor, draws: RowDraws) -> tuple[Tensor, Tensor, Tensor]:
        """Positives between a column of lower and one of higher score: [n, mixes, d] and their weights."""
        above = y_k - y[:, None]
        near = (enc.rel.neg[:, : len(enc.k)] > 0) & (above.abs() < self.window)
        low, lower = _drawn(near & (above < 0), draws, self.mixes, BELOW)
        high, higher = _drawn(near & (above > 0), draws, self.mixes, ABOVE)
        both = lower & higher
        width = torch.where(both, y_k[high] - y_k[low], 1.0)
        share = torch.where(both, above.gather(1, high) / width, 0.0)
        with torch.no_grad():
            k = unit(enc.k)
            made = mix(k[low], k[high], share[..., None])
        return made, both.float(), torch.zeros_like(both, dtype=torch.float32)


def _drawn(allowed: Tensor, draws: RowDraws, width: int, stream: int) -> tuple[Tensor, Tensor]:
    """([n, width] columns drawn uniformly from those allowed to a row, whether there is any)."""
    count = allowed.sum(1, keepdim=True)
    order = allowed.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    place = torch.minimum((draws.uniform(width, stream=stream) * count).long(), (count - 1).clamp_min(0))
    return order.gather(1, place), (count > 0).expand(-1, width)
