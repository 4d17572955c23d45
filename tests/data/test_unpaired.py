"""Rows that have one of the two sides: apart from the pairs, from every format, and never more than that."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.data.sources import read
from tellapart.data.unpaired import all_searched, has, unpaired

NAMES = ("red", "green", "blue", "grey", "pink", "teal")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        Image.new("RGB", (16, 16), (40 * number, 200, 90)).save(tmp_path / f"{name}.png")
    return tmp_path


def rows() -> list[dict[str, str | None]]:
    """Six pairs, of which the second lacks its text, the third its picture, the fourth both, the fifth names none."""
    made = [{"id": n, "image": f"{n}.png", "text": f"a {n} one", "size": str(i)} for i, n in enumerate(NAMES)]
    made[1]["text"], made[2]["image"] = None, None
    made[3]["text"] = made[3]["image"] = None
    made[4]["image"] = "nowhere.png"
    return made


def written(folder: Path, kind: str) -> Path:
    if kind == "csv":
        with (folder / "items.csv").open("w", newline="") as out:
            table = csv.DictWriter(out, ["id", "image", "text", "size"])
            table.writeheader()
            table.writerows([{k: "" if v is None else v for k, v in row.items()} for row in rows()])
        return folder / "items.csv"
    if kind == "jsonl":
        lines = [json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows()]
        (folder / "items.jsonl").write_text("\n".join(lines))
        return folder / "items.jsonl"
    pq.write_table(pa.Table.from_pylist(rows()), folder / "items.parquet")
    return folder / "items.parquet"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_of_one_side_are_problems_of_the_pairs_and_items_of_their_own(folder: Path, kind: str) -> None:
    source = written(folder, kind)
    pairs = read(source)
    assert pairs.ids.tolist() == ["red", "teal"] and len(pairs.problems) == 4
    alone = unpaired(source, pairs)
    assert alone.values("text") == [None, "a blue one"]
    assert alone.values("image") == ["green.png", None]
    assert read(source).fingerprint == pairs.fingerprint, "the next reading is one of pairs again"


def test_pictures_without_a_file_beside_them(folder: Path) -> None:
    for name in NAMES[:4]:
        (folder / f"{name}.txt").write_text(f"a {name} one")
    pairs = read(folder)
    alone = unpaired(folder, pairs)
    assert len(pairs) == 4 and alone.values("image") == ["pink.png", "teal.png"]
    assert alone.values("text") == [None, None]


def test_pictures_whose_name_says_nothing(folder: Path) -> None:
    (folder / "teal.png").rename(folder / "IMG_0001.png")
    pairs = read(folder)
    assert "IMG_0001.png" not in pairs.values("image")
    assert unpaired(folder, pairs).values("image") == ["IMG_0001.png"]


def test_other_columns_are_said_as_for_the_pairs(folder: Path) -> None:
    (folder / "items.csv").write_text("photo path,said\nred.png,one\ngreen.png,\n,three\n")
    columns = {"image": "photo path", "text": "said"}
    alone = unpaired(folder / "items.csv", read(folder / "items.csv", columns=columns), columns=columns)
    assert alone.values("text") == [None, "three"]


def test_pairs_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("anchor\tpositive\nq1\td1\nq2\t\n\td3\nq4\t  \n")
    alone = unpaired(tmp_path / "a.tsv", read(tmp_path / "a.tsv"))
    assert alone.values("anchor") == ["q2", None, "q4"] and alone.values("positive") == [None, "d3", None]


def test_held_out_rows_are_left_out(tmp_path: Path) -> None:
    lines = ["anchor,positive,split", "q1,d1,train", "q2,,test", "q3,,train", ",d4,val", ",d5,"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    alone = unpaired(tmp_path / "a.csv", read(tmp_path / "a.csv"))
    assert alone.values("anchor") == ["q3", None] and alone.values("positive") == [None, "d5"]


def test_nothing_where_there_are_no_two_sides_or_nothing_is_missing(folder: Path) -> None:
    (folder / "labels.csv").write_text("image,label\nred.png,a\ngreen.png,a\n,b\nblue.png,\n")
    assert unpaired(folder / "labels.csv", read(folder / "labels.csv")) is None
    (folder / "whole.csv").write_text("anchor,positive\na,b\nc,d\n")
    assert unpaired(folder / "whole.csv", read(folder / "whole.csv")) is None
    saved = read(folder / "whole.csv").save(folder / "saved")
    assert unpaired(saved, read(saved)) is None
    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": f"d{i}", "text": f"text {i}"}) for i in range(3)))
    (beir / "queries.jsonl").write_text(json.dumps({"_id": "q0", "text": "a query"}))
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\n")
    assert unpaired(beir, read(beir)) is None


def test_what_is_searched_is_the_pairs_and_what_has_a_document() -> None:
    pairs = Collection.of({
        "id": ["a", "b"], "text": ["one", "two"], "image": ["1.png", "2.png"], "group": np.array([0, 4]),
        "size": [1, 2], "split": ["train", "test"],
    })  # fmt: skip
    alone = Collection.of({
        "id": ["a", "c", "d"], "text": [None, "three", None], "image": ["7.png", None, "8.png"],
        "size": ["large", "3", "4"], "split": [None, None, "train"],
    })  # fmt: skip
    whole = all_searched(pairs, alone)
    assert whole.ids.tolist() == ["a", "b", "a#2", "d"] and has(whole, "image").all()
    assert whole.values("text") == ["one", "two", None, None]
    assert whole.values("group") == [0, 4, 5, 6], "nobody's duplicates"
    assert whole.values("split") == ["train", "test", None, None]
    assert whole.values("size") == [1, 2, None, None], "values of another type are left out, not guessed"
    assert all_searched(pairs, alone.take([1])) is None
