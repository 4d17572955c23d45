"""Numbers that do not fit a collection are said before the first step."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.engine.remarks import remarks
from tellapart.recipe import PLAIN

N = 40
PAIRS = Collection.of({
    "id": [str(i) for i in range(N + 10)],
    "anchor": [f"a {i}" for i in range(N + 10)],
    "positive": [f"p {i}" for i in range(N + 10)],
    "split": ["train"] * N + ["test"] * 10,
})  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 41}, "batch_size=41 is more than the 40 training items: every batch is all of them"),
        ({"batch_size": 40}, None),
        ({"strategy": "momentum-queue(size=41)"}, "a queue of 41 is longer than the 40 training items"),
        ({"strategy": "momentum-queue"}, "a queue of 4,096 is longer"),
        ({"strategy": "momentum-queue(size=40)"}, None),
        ({"sample": "tas(clusters=41)"}, "tas: clusters=41 is more than the 40 training items"),
        ({"sample": "tas(clusters=4)"}, None),
        ({"batch_size": 64, "tune": "none", "image": "lite0"}, None),
    ],
)
def test_numbers_that_do_not_fit(changes, words):
    found = remarks(PAIRS, PLAIN.model_copy(update={"batch_size": 8} | changes))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_labels_that_stand_once():
    labels = np.repeat(np.arange(N // 4), 4).astype(str).tolist()
    collection = Collection.of({
        "id": [str(i) for i in range(N + 2)],
        "text": [f"t {i}" for i in range(N + 2)],
        "label": labels[:-1] + ["lonely", "held out", "held out"],
        "split": ["train"] * N + ["test"] * 2,
    })  # fmt: skip
    (said,) = remarks(collection, PLAIN.but(batch_size=8))
    assert said.startswith("1 of 40 training items are the only ones of their label")
