"""Items of one side only: which of them may be trained on, and who is given them."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection
from tellapart.engine.inputs import Features, TrainData, keys_of
from tellapart.engine.unpaired import Unpaired, learns_from_unpaired
from tellapart.recipe import Recipe


def test_what_a_held_out_pair_holds_is_not_trained_on():
    pairs = Collection.of({
        "anchor": ["q0", "q1", "q2"], "positive": ["d0", "d1", "d2"], "split": ["train", "test", "validation"],
    })  # fmt: skip
    items = Collection.of({"anchor": ["q9", "q1", None, None, "d2"], "positive": [None, None, "d2", "q1", None]})
    rows = {"query": np.array([0, 1, 4]), "document": np.array([2, 3])}
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    alone = Unpaired(items, rows, {side: x[at] for side, at in rows.items()})
    found = alone.inputs(pairs)
    assert found["query"].x.tolist() == x[[0, 4]].tolist(), "a query is held out, a document is not"
    assert found["document"].x.tolist() == x[[3]].tolist()
    assert "3 with anchor alone and 2 with positive alone" in alone.words()


def test_they_are_part_of_what_a_run_depends_on():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    keys = keys_of(Collection.of({"anchor": list("abcd"), "positive": list("efgh")}))
    plain = TrainData(Features(x), Features(x), keys)
    more = TrainData(Features(x), Features(x), keys, alone={"document": Features(x[:2])})
    other = TrainData(Features(x), Features(x), keys, alone={"document": Features(x[2:])})
    assert len({data.fingerprint() for data in (plain, more, other)}) == 3


def test_strategies_say_whether_they_can_use_them():
    assert learns_from_unpaired(Recipe(strategy="rreh")) and not learns_from_unpaired(Recipe(strategy="cca"))
