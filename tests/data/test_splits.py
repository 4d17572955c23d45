from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import curate, leaks, split
from tellapart.data.provenance import about
from tellapart.data.splits import components


def collection(**columns):
    n = len(next(iter(columns.values())))
    return Collection.of({"id": [f"i{i:04d}" for i in range(n)], **columns})


SHARES = st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0), (0.34, 0.33, 0.33)])


@given(
    group=st.lists(st.integers(0, 60), min_size=30, max_size=200),
    concepts=st.integers(20, 80),
    labels=st.integers(1, 4),
    seed=st.integers(0, 10),
    shares=SHARES,
)
@settings(max_examples=60, deadline=None)
def test_no_group_and_no_concept_is_cut_and_shares_are_kept(group, concepts, labels, seed, shares):
    rng = np.random.default_rng(len(group))
    made = collection(
        group=group,
        concept=[f"c{i}" for i in rng.integers(0, concepts, len(group))],
        label=[f"l{i}" for i in rng.integers(0, labels, len(group))],
    )
    units = components(made)
    try:
        found = split(made, seed=seed, shares=shares)
    except DataError:
        assert units.max() + 1 < 12 or np.bincount(units).max() > 0.05 * len(group)
        return
    sides = np.asarray(found.values("split"))
    for column in ("group", "concept"):
        for value in set(made.values(column)):
            assert len(set(sides[np.asarray(made.values(column)) == value])) == 1
    largest = np.bincount(units).max()
    for name, share in zip(("train", "validation", "test"), shares, strict=True):
        assert abs((sides == name).sum() - share * len(group)) <= 1.5 * largest + 1
        assert share > 0 or name not in sides
    assert split(made, seed=seed, shares=shares).values("split") == found.values("split")
    assert len(leaks(found)) == 0


def test_another_seed_gives_another_split():
    made = collection(label=[0, 1] * 100)
    assert split(made, seed=0).values("split") != split(made, seed=1).values("split")
    assert split(made, seed=0).values("split") == split(made, seed=0).values("split")


def test_shares_and_labels_are_kept_without_groups():
    label = ["common"] * 700 + ["rare"] * 200 + ["rarest"] * 100
    found = split(collection(label=label), seed=3)
    sides = np.asarray(found.values("split"))
    assert [(sides == s).sum() for s in ("train", "validation", "test")] == [700, 100, 200]
    for name, count in (("common", 700), ("rare", 200), ("rarest", 100)):
        mine = sides[np.asarray(label) == name]
        for side, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
            assert abs((mine == side).sum() - share * count) <= 2


def test_many_small_labels_still_reach_every_side():
    found = split(collection(label=[f"l{i // 3}" for i in range(900)]), seed=0)
    counts = {s: found.values("split").count(s) for s in ("train", "validation", "test")}
    assert counts == {"train": 630, "validation": 90, "test": 180}


def test_by_keeps_a_column_whole():
    found = split(collection(label=[i % 10 for i in range(200)]), seed=0, by="label")
    sides = np.asarray(found.values("split"))
    for value in range(10):
        assert len(set(sides[np.arange(200) % 10 == value])) == 1
    assert found.provenance("split")["groups"] == 10
    assert any("labels have no item in train" in n for n in about(found)["notes"])
    with pytest.raises(DataError, match="did you mean label"):
        split(collection(label=[1, 2, 3]), seed=0, by="labels")


def test_the_answers_of_one_query_stay_together():
    anchors = [f"question {i // 4}" for i in range(80)]
    made = curate(collection(anchor=anchors, positive=[f"answer number {i}" for i in range(80)]))
    found = split(made, seed=0)
    sides = np.asarray(found.values("split")).reshape(20, 4)
    assert (sides == sides[:, :1]).all()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"text": ["a"]}, "1 items make 1 group that must stay together, and 3 splits need at least 3"),
        ({"text": ["a", "b"]}, "2 items make 2 groups"),
        ({"text": list("abcdef"), "group": [0] * 6}, "6 items make 1 group that"),
        ({"text": list("abcdef"), "group": [0, 0, 0, 1, 1, 1]}, "6 items make 2 groups"),
    ],
)
def test_too_few_groups_are_refused_in_words(columns, words):
    with pytest.raises(DataError, match=words):
        split(collection(**columns), seed=0)


def test_a_very_large_group_stays_whole_and_is_said():
    found = split(collection(text=["x"] * 103, group=[0] * 100 + [1, 2, 3]), seed=0)
    assert set(found.values("split")[:100]) == {"train"}
    assert any("large groups stay whole" in n for n in about(found)["notes"])


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.0, 0.5, 0.5), (0.9, 0.9, 0.2), (-0.1, 0.6, 0.5), (0.2, 0.2, 0.2)])
def test_shares_that_are_none(shares):
    with pytest.raises(DataError, match="three numbers"):
        split(collection(text=list("abcdef")), seed=0, shares=shares)


def test_leaks_are_counted_by_vectors_and_by_groups():
    made = collection(text=list("abcd"), split=["train", "test", "test", "validation"], group=[0, 0, 1, 2])
    found = leaks(made)
    assert found.ids == ("i0001",) and found.of == 3
    z = np.asarray([[1, 0, 0], [0, 1, 0], [0.999, 0.001, 0], [0, 0, 1]])
    found = leaks(made, z, threshold=0.99)
    assert found.ids == ("i0002",) and found.pairs.to_pylist()[0]["b"] == "i0000"
    assert len(leaks(made, z, threshold=0.99999999)) == 0
    with pytest.raises(DataError, match="one row for each"):
        leaks(made, z[:2])
