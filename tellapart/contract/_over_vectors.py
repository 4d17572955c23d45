"""What a part that is called with vectors and a collection leaves as it found it, in whichever shape."""

from __future__ import annotations

import copy

import numpy as np

from tellapart.contract._draws import global_draws
from tellapart.contract.classify import Build
from tellapart.core.collection import Collection


class Untouched:
    """Checks of what a call must not change, over the world of a shape."""

    def world(self, seed: int) -> tuple[dict[str, np.ndarray], Collection]:
        """Vectors by name, and the collection that they are of."""
        raise NotImplementedError

    def check_global_draws(self, build: Build) -> None:
        """The global random state is neither used nor changed."""
        before = global_draws()
        build()(*self.world(3), seed=0)
        assert before == global_draws(), "the global random state was used"

    def check_input_unchanged(self, build: Build) -> None:
        """Neither vectors nor collection are changed."""
        vectors, collection = self.world(4)
        before, table = copy.deepcopy(vectors), collection.table
        build()(vectors, collection, seed=0)
        assert all(np.array_equal(vectors[n], before[n]) for n in before), "vectors were changed in place"
        assert collection.table.equals(table), "the collection was changed"
