"""Batches for the loop: what a sampler is told, the vectors it looks at, and which rows are this process's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.plan import Plan, SampleKeys, looked_at
from tellapart.engine import distributed, towers
from tellapart.engine.session import Run

PREFIX = "seen."


class Planner:
    """The sampler of a run, asked once an epoch.

    A sampler of the trait `vectors` is shown both sides as the towers gave them when its `refresh` epochs began. The
    weights of that moment are kept, and with the checkpoint, instead of the vectors: a run that goes on in the middle
    makes the same vectors of them, and the same plan. Processes share the encoding block by block, and the first one
    plans for all, so that every number of processes has one plan.

    Raises:
        PartError: vectors that would be looked at only after the last epoch.
    """

    def __init__(self, run: Run) -> None:
        name, options = parse_spec(run.recipe.sample)
        card = card_of("sample", name)
        self.run, self.name = run, card.name
        self._sampler = make("sample", run.recipe.sample)
        self._looks = "vectors" in card.traits
        held = {option.name: option.default for option in card.options} | options
        self._start, self._refresh = held.get("start", 0), held.get("refresh", 1)
        if self._looks and self._start >= run.recipe.epochs:
            raise PartError(
                f"{card.name} looks at the vectors from epoch {self._start} on (option start, counted from 0), and the "
                f"recipe has {run.recipe.epochs}: train longer, give a smaller start, or use sample=shuffle"
            )
        self._made: int | None = None
        self._seen: dict[str, Tensor] = {}
        self._vectors: dict[str, np.ndarray] = {}

    def plan(self, epoch: int, *, expected: int | None = None) -> Plan:
        """This process's rows of every batch of an epoch, contiguous pieces of the global plan.

        Raises:
            PartError: no batches, not as many as `expected`, or batches that cannot be shared.
        """
        recipe, keys = self.run.recipe, self.run.data.keys
        vectors = self._look(epoch)
        known = SampleKeys(
            keys.item.numpy(), keys.group.numpy(), keys.target.numpy(), **vectors, extra=self.run.data.extra
        )
        plan: Plan = []
        if not self._looks or distributed.rank() == 0:
            plan = self._sampler(known, seed=self.run.seed, epoch=epoch, batch_size=recipe.batch_size)
        if self._looks:
            plan = distributed.from_first(plan)
        if not plan or (expected is not None and len(plan) != expected) or not distributed.same_everywhere(len(plan)):
            raise PartError(
                f"the sampler {self.name} planned {len(plan)} batches where {expected or 'at least one'} were promised"
            )
        world, least = distributed.world(), min(len(rows) for rows in plan)
        if least < world:
            raise PartError(f"a batch of {least} rows cannot be shared by {world} processes")
        return [self.run.share(rows) for rows in plan]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""
        return {PREFIX + name: x for name, x in self._seen.items()}

    def restore(self, tensors: Mapping[str, Tensor], epoch: int) -> None:
        """Put back what `tensors` gave when `epoch` was the last one planned."""
        self._seen = {name.removeprefix(PREFIX): x for name, x in tensors.items() if name.startswith(PREFIX)}
        self._made = looked_at(epoch, start=self._start, refresh=self._refresh) if self._seen else None
        self._vectors = {}

    def _look(self, epoch: int) -> dict[str, np.ndarray]:
        """Vectors by side as the plan of an epoch sees them; none where it sees none."""
        made = looked_at(epoch, start=self._start, refresh=self._refresh) if self._looks else None
        if made is None:
            return {}
        if made != self._made:
            self._made, self._vectors = made, {}
            self._seen = {name: x.detach().clone() for name, x in self.run.towers.state_dict().items()}
        if not self._vectors:
            now = {name: x.detach().clone() for name, x in self.run.towers.state_dict().items()}
            self.run.towers.load_state_dict(self._seen)
            self._vectors = {side: self._encoded(side) for side in ("query", "document")}
            self.run.towers.load_state_dict(now)
        return self._vectors

    def _encoded(self, side: str) -> np.ndarray:
        """[n, d] vectors of a side, each block by one process; the blocks are the same however many there are."""
        run, inputs = self.run, getattr(self.run.data, side)
        found = torch.zeros(len(inputs), run.dim(), device=run.device)
        blocks = towers.blocks(inputs, np.arange(len(inputs)))
        for rows in blocks[distributed.rank() :: distributed.world()]:
            found[torch.from_numpy(rows)] = towers.encoded(run.towers[side], inputs, rows, run.device)
        return distributed.total(found).cpu().numpy()
