"""A split that came with the data: kept, completed, and its leakage told."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import completed, read, split
from tellapart.data.columns import split_of
from tellapart.data.provenance import about

from .test_readers import save

NAMES = ("train", "validation", "test")


def made(sides, group=None, **columns):
    n = len(sides)
    group = list(range(n)) if group is None else group
    ids = [f"i{i:04d}" for i in range(n)]
    return Collection.of({"id": ids, "split": pa.array(sides, pa.string()), "group": group, "near": group, **columns})


def notes(collection):
    return " | ".join(about(collection).get("notes", []))


@given(
    sides=st.lists(st.sampled_from([*NAMES, None]), min_size=40, max_size=120),
    absent=st.sets(st.sampled_from(NAMES), max_size=2),
    groups=st.integers(30, 200),
    seed=st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_what_is_given_stays_and_what_is_missing_is_made_by_group(sides, absent, groups, seed):
    sides = [None if s in absent else s for s in sides]
    group = np.random.default_rng(len(sides)).integers(0, groups, len(sides)).tolist()
    given_ = made(sides, group)
    there = [name for name in NAMES if name in sides]
    try:
        found = completed(given_, seed=seed).values("split")
    except DataError:
        assert len(there) < 3
        return
    assert set(found) == set(NAMES)
    donor = there[0] if there else None
    new = [name for name in NAMES if name not in there]
    if None in sides and there and "train" not in there:
        # Items without a part make a train of their own.
        donor, new = None, [name for name in new if name != "train"]
    for before, after in zip(sides, found, strict=True):
        assert before is None or after == before or (before == donor and after in new)
    if new and there:
        source = donor or "train"
        cut = {g for g, s, a in zip(group, sides, found, strict=True) if s == source and a == source}
        for g, s, a in zip(group, sides, found, strict=True):
            assert not (s == source and a != source and g in cut)
    assert completed(given_, seed=seed).values("split") == found


def test_train_and_test_alone_keep_test_and_give_a_validation_part_out_of_train():
    found = completed(made(["train"] * 80 + ["test"] * 20), seed=0)
    sides = found.values("split")
    assert sides[80:] == ["test"] * 20 and sides[:80].count("validation") == 10
    assert "80 train, 20 test" in notes(found) and "10 for validation" in notes(found)
    assert "leakage" not in notes(found)
    assert found.provenance("split")["given"] == {"train": 80, "validation": 0, "test": 20}


def test_train_and_validation_alone_keep_validation_and_give_a_test_part_out_of_train():
    found = completed(made(["train"] * 90 + ["validation"] * 30), seed=0)
    sides = found.values("split")
    assert sides[90:] == ["validation"] * 30 and sides[:90].count("test") == 20
    assert "has no test, so items of train were taken, by duplicate group: 20 for test" in notes(found)


def test_near_duplicates_across_the_given_split_are_told_and_not_moved():
    sides = ["train"] * 30 + ["validation"] * 10 + ["test"] * 10
    group = list(range(50))
    group[45] = group[46] = 3
    found = completed(made(sides, group), seed=0)
    assert found.values("split") == sides
    assert "leakage: 2 of 20 held-out items" in notes(found) and "i0045 like i0003" in notes(found)


def test_an_item_in_no_part_goes_where_its_duplicates_are():
    sides = ["train"] * 30 + ["validation"] * 10 + ["test"] * 10 + [None] * 3
    group = list(range(53))
    group[50], group[51] = 45, 35
    found = completed(made(sides, group), seed=0)
    assert found.values("split")[50:] == ["test", "validation", "train"]
    assert "3 items named no part" in notes(found) and "2 of them beside their duplicates" in notes(found)
    assert "leakage" not in notes(found)


def test_without_a_part_a_split_is_made_and_a_made_one_is_kept():
    one = completed(made([None] * 50), seed=1)
    assert set(one.values("split")) == set(NAMES) and "came with the data" not in notes(one)
    assert completed(one, seed=2).values("split") == one.values("split")
    mine = split(made([None] * 50), seed=3)
    assert completed(mine, seed=4) is mine


def test_what_cannot_be_completed_is_said():
    with pytest.raises(DataError, match=r"has no validation: .* must stay together"):
        completed(made(["train", "train", "test"], [0, 0, 1]), seed=0)
    with pytest.raises(DataError, match="write train, validation or test"):
        completed(made(["train", "tests"] * 5), seed=0)
    with pytest.raises(DataError, match="there is no train"):
        completed(made(["test"] * 9), seed=0, shares=(0.0, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "part"),
    [("Train", "train"), (" dev ", "validation"), ("VAL", "validation"), ("val2017", "validation"),
     ("test-00000-of-00004", "test"), ("train_01", "train"), ("held-out", "test"), ("trainer", ""), ("", ""),
     ("test tube", ""), ("validation_matched", "")],
)  # fmt: skip
def test_names_of_parts(name, part):
    assert split_of(name) == part


def test_the_first_word_of_a_named_part():
    assert split_of("validation_matched", first_word=True) == "validation"
    assert split_of("unsupervised", first_word=True) == ""


def test_a_column_with_other_spellings_gaps_and_a_mistake(tmp_path):
    rows = [("Training", 1), ("dev", 2), ("TEST", 3), ("", 4), ("maybe", 5)]
    (tmp_path / "t.csv").write_text("text,label,split\n" + "".join(f"text {i},{i},{s}\n" for s, i in rows))
    found = read(tmp_path / "t.csv")
    assert found.values("split") == ["train", "validation", "test", None]
    assert "write train, validation or test" in found.problems["reason"][0].as_py()


def test_tables_named_by_the_split(tmp_path):
    for name, count in (("train", 3), ("dev", 2), ("test", 1)):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(f"{name} {i},{i}\n" for i in range(count)))
    found = read(tmp_path)
    assert found.values("split") == ["train"] * 3 + ["validation"] * 2 + ["test"]
    assert found.values("label") == [0, 1, 2, 0, 1, 0]


@pytest.mark.parametrize("folder", [".", "data"])
def test_parquet_files_as_the_hub_names_them(tmp_path, folder):
    base = tmp_path / folder
    base.mkdir(exist_ok=True)
    (tmp_path / "README.md").write_text("a data set")
    for part, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")):
        pq.write_table(
            pa.table({"text": [f"text {part} {i}" for i in range(2)], "label": [0, 1]}), base / f"{name}.parquet"
        )
    assert read(tmp_path).values("split") == ["train"] * 4 + ["validation"] * 2


def test_folders_of_tables_and_a_split_column_that_wins(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.jsonl").write_text(json.dumps({"text": name, "label": 1}) + "\n")
    (tmp_path / "test" / "more.jsonl").write_text(json.dumps({"text": "x", "label": 1, "split": "dev"}) + "\n")
    assert read(tmp_path).values("split") == ["train", "validation", "test"]


def test_pictures_in_split_folders_of_other_depth_and_with_captions_beside(tmp_path):
    save(
        tmp_path, *[f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(2)], "test/0.png", "test/1.png", "x.png"
    )
    found = read(tmp_path)
    assert dict(zip(found.ids, found.values("split"), strict=True)) == {
        **{f"train/{c}/{i}.png": "train" for c in ("cat", "dog") for i in range(2)},
        **{f"test/{i}.png": "test" for i in range(2)}, "x.png": None,
    }  # fmt: skip
    assert found.item("train/cat/0.png")["label"] == "cat" and found.item("test/0.png")["label"] is None
    other = tmp_path / "other"
    save(other, "train/a.png", "val/b.png")
    for name in ("train/a", "val/b"):
        (other / f"{name}.json").write_text(json.dumps({"text": f"caption of {name}"}))
    found = read(other)
    assert found.values("split") == ["train", "validation"] and found.values("text")[0] == "caption of train/a"
