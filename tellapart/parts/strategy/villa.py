from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import make, part
from tellapart.parts.strategy._regions import region_losses

ITEMS_A_BLOCK, MOST_LOOKED_AT = 256, 16_384


@part(
    paper="Varma et al., ViLLA: Fine-Grained Vision-Language Representation Learning from Real-World Data, ICCV 2023",
    place="pairs",
    system="villa",
    traits=("regions",),
    needs=("torch",),
)
class Villa(nn.Module):
    """Which region of a picture each of its attributes belongs to is found first; then regions are trained on too.

    Stage 1, the first `mapping` of the steps: with frozen vectors f_r of regions and u_a of attributes (length 1)::

        s_ra = | head_a(f_r) | . u_a         head_a: a layer of `hidden`, ReLU, a layer; one for each attribute
        s_ia = max over the regions r of picture i of s_ra
        L_1  = mean over (i, a), picture i has a, of -log( e^(s_ia / T) / (e^(s_ia / T) + sum_j lacks a e^(s_ja / T)) )

    over the pictures of the batch. Then an attribute of a picture is given to those of its regions with
    s_ra > max_r s_ra - `epsilon`, and the text of a region is the mean of what is said of its attributes: the sentence
    of the caption that has the words, otherwise the attribute itself. Stage 2 trains the towers on regions with their
    texts beside pictures with their captions: the recipe's objective over each.

    Towers are trained on pictures and captions from the first step, so that the budget is that of `two-tower`. The
    authors' code has stage 1 before, with an optimiser of its own. Its regions and attributes are of one CLIP, heads
    are as wide as that and may be mixed with their input (off by default); here the encoders share no space, heads go
    from one to the other, and their input is standardised and cut to `width` (ten times cheaper). Its sum over j has 1
    more for every other picture with a, an accident. Its stage 2 has all regions and the picture in one softmax; here
    `regions` are drawn for a picture, in a loss of their own, and neither regions of equal text nor the same region of
    near duplicates are each other's negatives.

    Use it for pictures of many things with captions that list them, for some hundred steps; mapped too early, all
    regions have all attributes. Regions and attributes are columns, or a grid and frequent words of captions
    (docs/data.md). `assigned` [regions, attributes] is the mapping of the training pictures, `scores` gives s_ra.

    Args:
        temperature: T.
        epsilon: how far below the best region, as a cosine, another one is still taken.
        width, hidden: of a head's input, that many principal components of the standardised vectors, and of its layer.
        mapping: share of the steps in which the mapping is learnt.
        regions: mapped regions of a picture in a step of stage 2; a picture with fewer repeats them.

    Raises `PartError` for data without regions, and with a guide. Without its regions it is `two-tower`, its baseline.
    """

    def __init__(
        self,
        *,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.07,
        epsilon: Annotated[float, Field(gt=0, le=2)] = 0.2,
        width: Annotated[int, Field(ge=1, le=65_536)] = 256,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        mapping: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        regions: Annotated[int, Field(ge=1, le=256)] = 4,
    ) -> None:
        super().__init__()
        self.temperature, self.epsilon, self.width, self.hidden = temperature, epsilon, width, hidden
        self.mapping, self.regions = mapping, regions

    def begin(self, run: Any) -> None:
        """Draw the heads."""
        if run.data.region is None:
            raise PartError("villa learns from regions: give pictures with captions, and use tellapart run or compare")
        if run.data.guide is not None:
            raise PartError("villa trains on regions, and the guide has no opinion of them: leave relate and the guide")
        names = ("region_vectors", "region_of", "phrase_of")
        self._x, self._of, phrase = (torch.from_numpy(run.data.extra[name]) for name in names)
        self._mean, self._spread = self._x.mean(0), self._x.std(0, correction=0).clamp_min(1e-6)
        x, axes = self._x[:: -(-len(self._x) // MOST_LOOKED_AT)], torch.eye(self._x.shape[1])
        x = (x - self._mean) / self._spread
        self._axes = axes if len(axes) <= self.width else torch.linalg.eigh(x.T @ x)[1][:, -self.width :]
        self._has, group = phrase >= 0, run.data.keys.group.unique(return_inverse=True)[1]
        held = torch.zeros(int(group.max()) + 1, phrase.shape[1]).index_add(0, group, self._has.float())
        self._lacks = held[group] == 0  # no picture of its duplicate group has it
        target = unit(torch.from_numpy(run.data.extra["attribute_vectors"]))
        draw = torch.Generator().manual_seed(run.draw("heads of villa"))
        for name, a, b in (("first", self._axes.shape[1], self.hidden), ("second", self.hidden, target.shape[1])):
            bound = 1 / math.sqrt(a)
            weight, bias = torch.rand(len(target), a, b, generator=draw), torch.rand(len(target), b, generator=draw)
            self.register_parameter(name, nn.Parameter((2 * weight - 1) * bound))
            self.register_parameter(f"{name}_bias", nn.Parameter((2 * bias - 1) * bound))
        self.register_buffer("_target", target)
        self.register_buffer("assigned", torch.zeros(len(self._x), len(target), dtype=torch.bool))
        self.whole = make("strategy", "two-tower")

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        losses: dict[str, Tensor] = self.whole.step(run, batch)
        if run.step < self._switch(run):
            return {**losses, "mapping": self._mapping_loss(run, torch.from_numpy(batch))}
        return losses | region_losses(run, torch.from_numpy(batch), self.assigned.cpu(), self.regions)

    def after(self, run: Any) -> None:
        """Map attributes to regions once that is learnt."""
        if run.step + 1 == self._switch(run):
            self._map()

    def _switch(self, run: Any) -> int:
        return max(1, round(self.mapping * run.steps))

    def scores(self, x: Tensor, attributes: Tensor | None = None) -> Tensor:
        """[r, width] frozen vectors of regions -> [r, attributes] s_ra, of some attributes or all."""
        some = torch.arange(len(self._target)) if attributes is None else attributes
        x = ((x - self._mean) / self._spread @ self._axes).to(self._target.device)
        h = (torch.einsum("rw,awh->rah", x, self.first[some]) + self.first_bias[some]).relu()
        w, b, u = self.second[some], self.second_bias[some], self._target[some]
        # The length of y = w h + b by products with h, since y itself is as wide as a text's vector.
        square, cross = w @ w.mT, torch.einsum("aht,xat->xah", w, torch.stack([u, b]))
        length = (torch.einsum("rah,ahk->rak", h, square) + 2 * cross[1]).mul(h).sum(2) + (b * b).sum(1)
        return ((h * cross[0]).sum(2) + (b * u).sum(1)) / length.clamp_min(1e-12).sqrt()

    def _by_region(self, items: Tensor, attributes: Tensor | None = None) -> Tensor:
        """[n, regions, attributes] scores of the regions of items; -inf where an item has fewer."""
        of = self._of[items]
        found = self.scores(self._x[of.clamp_min(0).flatten()], attributes).view(*of.shape, -1)
        return found.masked_fill((of < 0)[..., None].to(found.device), -torch.inf)

    def _mapping_loss(self, run: Any, batch: Tensor) -> Tensor:
        everyone = run.gather(batch.to(self._target.device)).cpu()
        has, lacks = self._has[everyone], self._lacks[everyone]
        some = (has.any(0) & lacks.any(0)).nonzero()[:, 0]
        s = self._by_region(batch, some).amax(1) / self.temperature
        others = run.gather(s).masked_fill(~lacks[:, some].to(s.device), -torch.inf).logsumexp(0)
        values = nn.functional.softplus(others - s)[self._has[batch][:, some].to(s.device)]
        loss: Tensor = values.sum() * (len(everyone) / len(batch)) / has[:, some].sum().clamp_min(1)
        return loss

    @torch.no_grad()
    def _map(self) -> None:
        for items in torch.arange(len(self._of)).split(ITEMS_A_BLOCK):
            s, of = self._by_region(items), self._of[items]
            near = (s > s.amax(1, keepdim=True) - self.epsilon) & self._has[items][:, None].to(s.device)
            self.assigned[of[of >= 0].to(s.device)] = near[(of >= 0).to(s.device)]
        self._codes = None
