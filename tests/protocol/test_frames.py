"""The protocol of frames: items hold their drawing's copies and another one's; scores are those of loops; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.protocol import frames


def test_items_hold_their_own_copies_and_others_of_the_same_part():
    copies = np.arange(20 * 4, dtype=np.float32).reshape(20, 4, 1)
    made = frames.Drawings(Collection.of({"text": ["a"] * 20}), copies[:, 0], copies, np.empty(20, dtype=object))
    rows = np.asarray([3, 7, 8, 15])
    for others in (0, 4):
        found = frames.items(made, rows, others, 1)[:, :, 0]
        assert found.shape == (4, 4 + others)
        for row, held in zip(rows.tolist(), found, strict=True):
            of = [int(x) // 4 for x in held]
            assert of.count(row) == 4 and len(set(of)) == 1 + (others > 0) and set(of) <= set(rows.tolist())
    orders = {tuple(np.argsort(held)) for held in found}
    assert len(orders) > 1, "the order of the frames does not tell which are the item's"


def test_scores_are_those_of_loops():
    rng = np.random.default_rng(0)
    asked, tokens = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(4, 2, 5)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    got = frames.weighed(asked, tokens, 0.3)
    for q in range(3):
        for n in range(4):
            e = [math.exp(sum(a * b for a, b in zip(asked[q], v, strict=True)) / 0.3) for v in tokens[n]]
            whole = [sum(w * v[c] for w, v in zip(e, tokens[n], strict=True)) / sum(e) for c in range(5)]
            cosine = sum(a * b for a, b in zip(asked[q], whole, strict=True)) / math.sqrt(sum(x * x for x in whole))
            assert math.isclose(got[q, n], cosine, rel_tol=1e-4, abs_tol=1e-6)


def test_what_it_refuses():
    with pytest.raises(DataError, match="frames-half"):
        frames.run({"options": {}}, "films", 0)
    with pytest.raises(PartError, match="no option 'size'"):
        frames.run({"options": {"size": 3}}, "frames-half", 0)
