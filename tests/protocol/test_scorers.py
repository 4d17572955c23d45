"""The protocol of searches under an expensive scorer: what `relations` is made of, and that its training learns."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.protocol import scorers

SPEC = {"part": "anncur", "baseline": "rerank"}


def synsets():
    """Two kinds of things with three and four kinds, one with one, one that has a gloss of another."""
    rows = [("top", None, "n", "a thing")]
    for upper, count in (("bird", 3), ("fish", 4), ("tool", 1), ("deed", 2)):
        rows.append((upper, "top", "n", f"a {upper}"))
        rows += [(f"{upper}{i}", upper, "n", f"a {upper} of sort {i}") for i in range(count)]
    rows += [("twin", "bird", "n", "a fish of sort 1"), ("sing", "bird", "v", "to sing")]
    cells = zip(*rows, strict=True)
    return Collection.of({name: list(c) for name, c in zip(("id", "hypernym", "pos", "gloss"), cells, strict=True)})


def planted(*, queries=80, items=40, width=8):
    """Queries close to their items, two to train on and two to ask for each; one coordinate only disturbs."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(items, width)).astype(np.float32)
    of = np.repeat(np.arange(items), queries // items)
    noise = np.array([0.1] * (width - 1) + [3.0])
    asked, x = ((y[of] + noise * rng.normal(size=(queries, width))).astype(np.float32) for _ in range(2))
    return asked, x, of, y


def test_queries_of_relations_are_of_one_kind_with_their_item_and_stand_on_one_side():
    told = scorers.glosses(synsets(), 10)
    assert [item for *_, item in told] == ["a bird", "a fish", "a deed"], "a tool has no kind to train on"
    assert told[0] == ("a bird of sort 0", ["a bird of sort 1", "a bird of sort 2"], "a bird")
    assert told[1][1] == ["a fish of sort 2", "a fish of sort 3"], "what two synsets say is left out"
    texts = [text for asked, trained, item in told for text in (asked, *trained, item)]
    assert len(set(texts)) == len(texts)
    assert [item for *_, item in scorers.glosses(synsets(), 2)] == ["a bird", "a deed"]


@pytest.mark.parametrize("frozen", [False, True])
def test_scorer_and_dual_encoder_learn_which_item_belongs_to_a_query(frozen):
    asked, x, of, y = planted()
    before, after = (scorers._learnt(x, y, of, asked, 0, epochs=epochs, frozen=frozen) for epochs in (0, 25))
    assert before.scores.shape == after.scores.shape == (80, 40)
    by_chance, by_scorer = (float((held.scores.argmax(1) == of).mean()) for held in (before, after))
    first, last = (float(((held.q @ held.k.T).argmax(1) == of).mean()) for held in (before, after))
    assert by_chance < 0.2 and by_scorer > 0.7
    assert last > 0.2 and (last > first + 0.1 or frozen), "heads on an encoder's vectors begin where it is"


def test_part_and_baseline_have_the_same_calls(monkeypatch):
    monkeypatch.setattr(scorers, "related", lambda items: planted())
    options = {"calls": [20, 40], "related": 40, "anchor_queries": 40, "asked": 30, "part_grid": {"anchors": [0.5]}}
    found = scorers.run(SPEC | {"options": options}, "relations", 0)
    base, part = found["recall@10 at 20 calls"]
    assert base.shape == part.shape == (24,) and 0 < part.mean() < 1
    assert all(side.tolist() == [1.0] * 24 for side in found["recall@10 at 40 calls"]), "all items were scored"
    with pytest.raises(DataError, match=r"80 queries .* not 100"):
        scorers.run(SPEC | {"options": options | {"asked": 30, "anchor_queries": 70}}, "relations", 0)


def test_unknown_data_and_options_are_named():
    with pytest.raises(DataError, match="knows digits, relations"):
        scorers.run(SPEC | {"options": {}}, "fashion", 0)
    with pytest.raises(PartError, match="no option 'wrong'"):
        scorers.run(SPEC | {"options": {"wrong": 1}}, "digits", 0)
