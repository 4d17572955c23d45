"""Words change a picture, learnt of captions alone: the picture is one more word beside them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.core.relation import Relation
from tellapart.parts.strategy._composer import made
from tellapart.parts.strategy._jittered import normal
from tellapart.parts.strategy._pseudo_word import PseudoWord

SHARE, WHICH = 33, 34


@part(
    paper="Byun, Jeong, Kim, Chun, Moon: An Efficient Post-hoc Framework for Reducing Task Discrepancy of Text "
    "Encoders for Composed Image Retrieval, ICCV 2025",
    place="train",
    system="rtd",
    traits=("captions",),
    needs=("torch",),
)
class Rtd(nn.Module):
    """Pictures with captions alone teach a search by a picture and what is to change in words.

    Formula, in three stages, for unit vectors e of captions, z of pictures, c of the words of a change and o of "a
    photo of", with d numbers; noisy(e) = e + noise u g / sqrt(d), u uniform in [0, 1], g standard normal::

        1. towers:  L = l(e; right: z) and l(z; right: e), as in `two-tower`
        2. phi:     L = l(|phi(noisy(e)) + o|; right: e; wrong: the other captions)
        3. text:    L = l(M(phi(noisy(e)), c); right: e', the caption that c makes of e) together with
                        l(M(phi(noisy(e)), o); right: e), both against all e' and e of the batch

    with l the recipe's objective. Towers stand still from 2 on, phi in 3. At the end a picture takes the place of its
    caption, M(phi(z), c); what is searched are plain pictures. phi(x) = x + V relu(U x + a) + b begins as x, and M, the
    module of `combiner`, as the sum. So the caption of the reference is a hard negative of the query, and the other way
    round (the paper's refined batch), and the noise stands for what lies between captions and pictures. Rules make the
    changes (`tellapart.data.rewrites`) of two captions that differ in a run of up to three words: "with blue", "blue
    instead of red". A row of which there are several takes one a step, one of which there is none only the second loss.

    The smallest honest cut: the paper trains a whole text encoder into which phi's word enters among its tokens, above
    a published CLIP and phi. Here the dual space is learnt from the same pairs, the word enters above the encoder, and
    M is what is trained. Read in the authors' code: 0.07; noise of 0.5 u N(0, 1) a number, on vectors that are not of
    length 1 (here `noise` is about its greatest length, beside a vector of length 1); both kinds of queries in one
    batch with one noise, and a loss in which queries, and targets, are each other's negatives too, which is left out.
    The paper has triplets by a large language model as well.

    Use it where nobody has written down changes of pictures, and captions are short and alike, as names and labels of
    products are. Words alone find as they do after `two-tower`, whose towers these are (with fewer steps).

    Args:
        first, phi: shares of the steps of stages 1 and 2. noise: of stages 2 and 3. hidden: width of phi and of M.

    Raises `PartError` for data without captions that were made ready, for shares that leave no third stage, and for an
    `average` of weights from before it.

    Relations: `combiner` learns from triplets of pictures, and finds more where there are many.
    """

    joins = "composer"

    def __init__(
        self,
        *,
        first: Annotated[float, Field(gt=0, lt=1)] = 0.4,
        phi: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        noise: Annotated[float, Field(ge=0, le=100)] = 1.0,
        hidden: Annotated[int, Field(ge=1, le=8192)] = 512,
    ) -> None:
        super().__init__()
        self.first, self.phi, self.noise, self.hidden = first, phi, noise, hidden

    def begin(self, run: Any) -> None:
        """Make phi and the text side."""
        if run.data.phrase is None or "changed" not in run.data.extra:
            raise PartError("rtd learns from captions of pictures that are alike: use tellapart run or compare on such")
        left = 1 - self.first - self.phi
        if left <= 0:
            raise PartError(f"first={self.first:g} and phi={self.phi:g} leave no steps to teach the text side")
        if run.recipe.average > left:
            raise PartError(f"average={run.recipe.average} would mix stages: give at most {left:g}")
        self.composer = made(run, lambda: PseudoWord(run.dim(), self.hidden))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        if run.step < round(self.first * run.steps):
            e, z = run.encode("query", batch), run.encode("document", batch)
            there, back = run.pairing(e, z, batch), run.pairing(z, e, batch, reverse=True)
            return {"query": run.contrast(there) / 2, "document": run.contrast(back) / 2}
        with torch.no_grad():
            e, o = run.encode("query", batch), self._words(run, np.zeros(len(batch), np.int64))
        draws = RowDraws(run.draw("noise"), run.keys(batch).item)
        noise = self.noise * draws.uniform(1, stream=SHARE) * normal(draws, e.shape[1]) / e.shape[1] ** 0.5
        item, code = run.keys(batch).item, torch.from_numpy(run.data.extra["caption"][batch]).to(e.device)
        if run.step < round((self.first + self.phi) * run.steps):
            q = self.composer.untaught(self.composer.phi(e + noise), o)
            return {"phi": _among(run, q, code, e, code, item)}
        change, target = self._drawn(run, batch, draws)
        has = torch.from_numpy(change >= 0).to(e.device)
        with torch.no_grad():
            word, c = self.composer.phi(e + noise), self._words(run, np.maximum(change, 0))
            made = run.encode("query", target)
        goal = torch.from_numpy(run.data.extra["caption"][target]).to(e.device)
        q = torch.cat([self.composer.taught(word[has], c[has]), self.composer.taught(word, o)])
        mine, items = torch.cat([goal[has], code]), torch.cat([item[has], item])
        return {"text": _among(run, q, mine, torch.cat([made, e]), torch.cat([goal, code]), items)}

    def _words(self, run: Any, numbers: np.ndarray) -> Tensor:
        z: Tensor = run.encode("phrase", numbers, tower=run.towers["query"])
        return z

    @staticmethod
    def _drawn(run: Any, batch: np.ndarray, draws: RowDraws) -> tuple[np.ndarray, np.ndarray]:
        """[n] numbers of words, -1 for none, and [n] rows of what they make: one of the row's own, or the row."""
        change, changed = (run.data.extra[name][batch] for name in ("change", "changed"))
        count = (change >= 0).sum(1)
        place = (draws.uniform(1, stream=WHICH)[:, 0].cpu().numpy() * count).astype(np.int64)
        at = np.arange(len(batch)), np.minimum(place, np.maximum(count - 1, 0))
        return change[at], np.where(count > 0, changed[at], batch)

    def after(self, run: Any) -> None:
        """Nothing to keep."""


def _among(run: Any, q: Tensor, mine: Tensor, e: Tensor, code: Tensor, item: Tensor) -> Tensor:
    """The recipe's objective of queries whose captions are numbered `mine` among captions of all processes."""
    same = mine[:, None] == run.gather(code)
    loss: Tensor = run.loss_of(Encoded(q, run.gather(e), Relation(same.float(), (~same).float())), item)
    return loss
