from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Keys, Relation
from tellapart.parts.strategy._proxies import laid_out

ORDER, NEGATIVE, POSITIVE = range(3)


@part(
    paper="Zhang, Hooi, Hu, Liang, Feng: Unleashing the Power of Contrastive Self-Supervised Visual Models via "
    "Contrast-Regularized Fine-Tuning, NeurIPS 2021",
    place="train",
    system="core-tuning",
    needs=("torch",),
)
class CoreTuning(nn.Module):
    """A classifier and a contrast are taught together, on items and on mixtures of hard pairs.

    Formula, for the m labelled vectors z of a batch (of both sides, where there are two), with labels y as vectors of 0
    and 1; y is mixed as z is, and mixtures are not made unit vectors::

        hard negative   (1 - a) z_i + a z_j       j the next of i in a random circle of the batch, a = max(A, least)
        hard positive   b z_p + (1 - b) z_n       p the least similar item of i's class, n the most similar of another
        A, b            from Beta(alpha, alpha)
        loss = mean over all 3 m of -sum_c y_c log softmax(z.w / temperature)_c + eta * contrast

    w are unit class vectors. The contrast is the recipe's objective among all 3 m, taken through a projection of two
    layers to unit vectors; equal labels are positives, so that a mixture of two classes is only ever a negative.
    The paper's is `objective="focal-supcon"`.

    Read in the authors' code: the labels that are equal, `least`, Beta(1, 1), the projection, that partners are
    shuffled without regard to class. Different from it: class vectors and items are compared by cosine, as towers give
    unit vectors; `eta` (10 there) multiplies a mean over positives instead of over all columns; unmixed vectors have a
    gradient there only through their mixtures, here by themselves too; an item alone in its class is its own positive,
    and one without another class its own negative. Members of a duplicate group are no negatives; items without a label
    are left out; processes that train together mix among all their items. Classifier and projection are left behind
    when training ends.

    Use it to fine-tune an encoder, or a head on its features, with some tens of items a class. Mixing smooths the
    borders between classes; look whether `eta=0` and `class-proxies` do as well on your data.

    Args:
        eta: weight of the contrast; the paper tries 0.1 to 10.
        alpha: of the shares' Beta law. least: the least share of the partner in a hard negative.
        temperature: of the classifier. projection: width that the contrast is taken in.

    Relations: `class-proxies` is the classifier alone; `supcon` with `two-tower` the contrast alone; `mochi` mixes
    negatives without labels.
    """

    def __init__(
        self,
        *,
        eta: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        alpha: Annotated[float, Field(ge=0.5, le=100)] = 1.0,
        least: Annotated[float, Field(ge=0, le=1)] = 0.8,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        projection: Annotated[int, Field(ge=1, le=8192)] = 128,
    ) -> None:
        super().__init__()
        self.eta, self.alpha, self.least = eta, alpha, least
        self.temperature, self.projection = temperature, projection

    def begin(self, run: Any) -> None:
        """Draw the class vectors and the projection."""
        self.vectors, keys = laid_out(run, "core-tuning")
        self._classes, width = keys.target, self.vectors.shape[1]
        draw = torch.Generator().manual_seed(run.draw("projection of core-tuning"))
        self.first = nn.Parameter(torch.randn(width, width, generator=draw) * (2 / width) ** 0.5)
        self.second = nn.Parameter(torch.randn(self.projection, width, generator=draw) / width**0.5)
        self.offset = nn.Parameter(torch.zeros(width))
        # Not zero: an item that no unit of the first layer answers to would have a vector of no direction.
        self.last = nn.Parameter(torch.randn(self.projection, generator=draw) / width**0.5)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        sides = ["query"] if run.data.same_space else ["query", "document"]
        known = run.keys(batch)
        here = [Keys(known.item if side == "query" else ~known.item, known.group, known.target) for side in sides]
        keys = Keys.cat(*(Keys(*(run.gather(getattr(k, f)) for f in ("item", "group", "target"))) for k in here))
        z = torch.cat([run.gather(run.encode(side, batch)) for side in sides])
        z, keys = z[keys.target >= 0], keys[keys.target >= 0]
        if not len(z):
            nothing = (z.sum() + self.vectors.sum()) * 0
            return {"classes": nothing, "contrast": nothing}
        label = torch.searchsorted(self._classes.to(z.device), keys.target)
        x, one, other, share = self._mixed(z, keys, label, RowDraws(run.draw("core-tuning"), keys.item))
        logits = torch.log_softmax(x @ unit(self.vectors).T / self.temperature, 1)
        said = torch.stack([logits.gather(1, c[:, None])[:, 0] for c in (one, other)])
        classes = -torch.lerp(said[0], said[1], share).mean()
        return {"classes": classes, "contrast": self.eta * self._contrast(run, x, keys.group, one, other, share)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _mixed(self, z: Tensor, keys: Keys, label: Tensor, draws: RowDraws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Items, hard negatives and hard positives [3 m, d]: their two classes, and the share of the second [3 m]."""
        itself = torch.arange(len(z), device=z.device)
        circle = draws.uniform(1, stream=ORDER)[:, 0].argsort(stable=True)
        partner = torch.empty_like(circle).index_copy(0, circle, circle.roll(-1))
        a = draws.beta(self.alpha, 1, stream=NEGATIVE)[:, 0].clamp_min(self.least)
        b = draws.beta(self.alpha, 1, stream=POSITIVE)[:, 0]
        with torch.no_grad():
            same, sim = label[:, None] == label, z @ z.T
            far = torch.where(same & (itself[:, None] != itself), sim, torch.inf).min(1)
            near = torch.where(~same & (keys.group[:, None] != keys.group), sim, -torch.inf).max(1)
            p = torch.where(far.values.isfinite(), far.indices, itself)
            n = torch.where(near.values.isfinite(), near.indices, itself)
        x = torch.cat([z, torch.lerp(z, z[partner], a[:, None]), torch.lerp(z[n], z[p], b[:, None])])
        one, other = torch.cat([label, label, label[n]]), torch.cat([label, label[partner], label[p]])
        return x, one, other, torch.cat([torch.zeros_like(a), a, b])

    def _contrast(self, run: Any, x: Tensor, group: Tensor, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        """The recipe's objective among items and mixtures, over those that have a positive."""
        v = unit(torch.relu(x @ self.first.T + self.offset) @ self.second.T + self.last)
        pure = torch.where(one == other, one, torch.where(share == 0, one, torch.where(share == 1, other, -1)))
        item = torch.arange(len(x), device=x.device)
        keys = Keys(item, torch.cat([group, -2 - item[len(group) :]]), pure)
        enc = Encoded(v, v, Relation.of_keys(keys, keys, same_space=True))
        value, count = run.chain(enc, draws=RowDraws(run.draw("contrast"), item))
        loss: Tensor = value / count.clamp_min(1)
        return loss
