"""The protocol of words on pairs whose words are made up, so that what must be found is known."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.terms import Weighted
from tellapart.protocol import words

SPEC = {"options": {"pairs": 48, "tokens": 16, "epochs": 2, "batch_size": 8, "sampled": 50}}
THINGS = ("valve", "pump", "wheel", "lamp", "chair", "table", "window", "door", "bridge", "rope", "anchor", "drum")


@pytest.fixture(autouse=True)
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def shipped(_: str) -> Collection:
        named = [(colour, thing) for colour in ("red", "green", "blue", "brass") for thing in THINGS]
        return Collection.of({
            "id": [f"{n}" for n in range(len(named))],
            "anchor": [f"the {colour} {thing}" for colour, thing in named],
            "positive": [f"a {thing} that is {colour}" for colour, thing in named],
            "concept": [thing for _, thing in named],
        })  # fmt: skip

    monkeypatch.setattr(words, "shipped", shipped)
    words.opened.cache_clear()


def test_every_arm_is_measured_on_the_same_queries() -> None:
    found = words.run(SPEC, "docstrings", 0)
    assert {len(np.atleast_1d(v)) for name, pair in found.items() if "terms" not in name for v in pair} == {12}
    for name, pair in found.items():
        assert all(np.isfinite(v).all() for v in pair), name
    assert found["hybrid against full text alone"][0].mean() == 1, "both words of a pair name it"
    assert found["nDCG@10"][1].mean() > 0.2, "documents in any order have a tenth"
    alone = words.run(SPEC, "words", 0)
    assert set(alone) == {"hybrid against vectors alone", "hybrid against full text alone"}


def test_groups_stay_whole() -> None:
    group = np.arange(60) // 3
    parts = words.parted(group, 1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(60))
    held = [set(group[part].tolist()) for part in parts]
    assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]


def test_the_cut_keeps_the_greatest_weights() -> None:
    dense = np.asarray([[0.1, 0.9, 0.0, 0.5], [0.2, 0.0, 0.8, 0.7]], np.float32)
    kept = words.cut_at(Weighted.of(dense), 2)
    assert [kept.terms[a:b].tolist() for a, b in zip(kept.starts[:-1], kept.starts[1:], strict=True)] == [
        [1, 3],
        [2, 3],
    ]
    assert len(words.cut_at(Weighted.of(dense), 9).terms) == 6


def test_unknown_data_are_refused() -> None:
    with pytest.raises(DataError, match="knows docstrings"):
        words.run(SPEC, "openmoji", 0)
