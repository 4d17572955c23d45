"""What a strategy sees of a run, and the only way it reaches data, encoders, random draws and the loss."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Keys
from tellapart.engine import distributed
from tellapart.engine.inputs import TrainData
from tellapart.engine.memory import Chain, GradCache, Pairing
from tellapart.engine.towers import encoded
from tellapart.recipe import Recipe


@dataclass
class Run:
    """A training run at one step.

    Attributes:
        towers: the trained networks by side; one for both where both sides are one column.
        steps, step, epoch: how many steps there are in all, and where the run is.
        cache: gradient caching around the encoders, where it was asked for.
        learnt: options of the objective that are learnt beside the towers, by name.
    """

    recipe: Recipe
    data: TrainData
    towers: nn.ModuleDict
    chain: Chain
    seed: int
    device: torch.device
    steps: int = 0
    step: int = 0
    epoch: int = 0
    cache: GradCache | None = None
    learnt: nn.ModuleDict = field(default_factory=nn.ModuleDict)

    def encode(self, side: str, rows: np.ndarray, *, tower: nn.Module | None = None, altered: bool = True) -> Tensor:
        """[n, d] unit vectors of some rows of a side (see `TrainData.side`), with gradient if it is enabled.

        Args:
            tower: another network of the same form (a momentum copy); None: the trained one.
            altered: as the recipe's augmentations of pixels and words leave the items; False: as they are.
        """
        inputs = self.data.side(side).batch(rows, seed=self.draw(side) if altered else None).to(self.device)
        return self.through(self.towers[side] if tower is None else tower, inputs)

    def through(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """[n, d] vectors that a network gives, as `encode` makes them."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if self.cache is not None and torch.is_grad_enabled():
                return self.cache.encode(network, inputs)
            vectors: Tensor = network(inputs)
        return vectors.float()

    def encode_all(self, side: str) -> Tensor:
        """[n, d] vectors of every training row, in evaluation mode and without augmentation."""
        inputs = self.data.side(side)
        return encoded(self.towers[side], inputs, np.arange(len(inputs)), self.device)

    def keys(self, rows: np.ndarray) -> Keys:
        """Identities of some rows."""
        held = self.data.keys[torch.from_numpy(rows)]
        return Keys(*(getattr(held, f).to(self.device) for f in ("item", "group", "target")))

    def pairing(self, q: Tensor, k: Tensor, rows: np.ndarray, *, reverse: bool = False) -> Pairing:
        """The batch's queries against its documents (or the other way round), with guide and mined negatives."""
        keys = self.keys(rows)
        pairs = Pairing(q, k, keys, keys, self.data.same_space)
        index = torch.from_numpy(rows)
        if self.data.guide is not None:
            guide_q, guide_k = reversed(self.data.guide) if reverse else self.data.guide
            pairs = replace(
                pairs,
                rows={"guide_q": guide_q[index].to(self.device)},
                cols={"guide_k": guide_k[index].to(self.device)},
            )
        if self.chain.mates:
            pairs = replace(pairs, cols={**pairs.cols, "mate": q})
        # Negatives stand beside rows that look for what they could be taken for.
        if self.data.negatives is None or reverse != (self.data.negative_side == "query"):
            return pairs
        return self.with_negatives(pairs, self.data.negatives[index], side=self.data.negatives_in())

    def with_negatives(self, pairs: Pairing, negatives: Tensor, *, side: str = "document") -> Pairing:
        """A pairing with further negatives of each row's own: [n, s] rows of a side, -1 where there are fewer."""
        tower = self.towers[self.data.negative_side if side == "negative" else side]
        flat = self.encode(side, negatives.clamp_min(0).flatten().numpy(), tower=tower)
        own, weight = flat.view(*negatives.shape, -1), (negatives >= 0).float().to(self.device)
        if pairs.own is not None and pairs.own_neg is not None:
            own, weight = torch.cat([pairs.own, own], 1), torch.cat([pairs.own_neg, weight], 1)
        return replace(pairs, own=own, own_neg=weight)

    def gather(self, x: Tensor) -> Tensor:
        """The rows of all processes, one after the other."""
        return distributed.gather(x)

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's piece of a batch that all processes know; what cannot be shared evenly is left out."""
        world = distributed.world()
        return rows[: len(rows) // world * world].reshape(world, -1)[distributed.rank()]

    @torch.no_grad()
    def dim(self) -> int:
        """Width of the shared space."""
        network, inputs = self.towers["query"], self.data.query
        training = network.training
        width: int = network.eval()(inputs.batch(np.arange(2), seed=None).to(self.device)).shape[1]
        network.train(training)
        return width

    def contrast(self, pairing: Pairing) -> Tensor:
        """The recipe's objective over a pairing, after its augmentations and relations."""
        return self.chain.loss(replace(pairing, options=self.options()), seed=self.draw("contrast"))

    def options(self) -> dict[str, Tensor]:
        """The options of the objective that are learnt, as they are at this step."""
        return {name: number() for name, number in self.learnt.items()}

    def loss_of(self, enc: Encoded, item: Tensor) -> Tensor:
        """The recipe's objective over rows of this process, numbered `item`, against columns of all."""
        total, count = self.chain(enc, draws=RowDraws(self.draw("contrast"), item), options=self.options())
        return self.mean(total, count)

    def mean(self, total: Tensor, count: Tensor) -> Tensor:
        """A sum over some rows of this process as a share of the mean over those of all, ready for backward."""
        counts = self.gather(count.detach().float().view(1))
        return total * len(counts) / counts.sum().clamp_min(1)

    def draw(self, purpose: str) -> int:
        """A seed that is a function of the run's seed, the step and the purpose."""
        stream = sum(purpose.encode()) * 7919 % 65_521
        return int(np.random.SeedSequence([self.seed, self.step, stream]).generate_state(1, np.uint32)[0])
