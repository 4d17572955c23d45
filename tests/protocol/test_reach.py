"""The protocol of long texts: an encoder of known reach is told exactly, and a benchmark of one figure is not."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.protocol import reach

SPEC = {"part": "longembed", "baseline": "one-figure-for-all-lengths", "options": {"lengths": 4, "depths": 5}}


@pytest.fixture(autouse=True)
def glosses(monkeypatch):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{w}" for w in rng.integers(0, 900, 12)) for _ in range(80)]
    made = Collection.of({"id": [f"i{n}" for n in range(80)], "gloss": texts})
    monkeypatch.setattr(reach, "_glosses", lambda items: made)


def test_a_planted_reach_is_told():
    for seed in range(4):
        found = reach.run(SPEC, "planted", seed)
        cell, fails = found["error about a length and depth"], found["error about where it fails"]
        assert cell[1] < 0.05 < cell[0] and fails[1] == 0, (seed, found)


def test_the_figures_by_hand():
    assert reach._fails(np.array([[1.0, 1.0], [1.0, 0.0], [0.4, 0.4]])) == 2
    assert reach._fails(np.ones((3, 2))) == 3
    made = reach.Reach(5)
    asked, texts = ["What is the pass key of Abc?"], ["The pass key of Abc is 1.", "one The pass key of Abc is 1."]
    assert (made.query(asked) @ made.document(texts).T)[0] == pytest.approx([1.0, 0.0], abs=0.4)
    assert (made.query(asked) @ made.document(texts).T)[0, 0] == pytest.approx(1.0)


def test_what_is_unknown_is_refused():
    with pytest.raises(DataError, match="no option 'length'"):
        reach.run({**SPEC, "options": {"length": 3}}, "planted", 0)
    with pytest.raises(DataError, match="planted, wordnet"):
        reach.run(SPEC, "openmoji", 0)
