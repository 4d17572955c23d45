from __future__ import annotations

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tellapart.core.errors import DataError
from tellapart.data import problems_table, read, summary
from tellapart.data.provenance import about

from .conftest import encoded, noise


def reasons(collection):
    return {row["place"]: row["reason"] for row in collection.problems.to_pylist()}


def test_csv_of_pictures_with_every_kind_of_bad_row(pictures):
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "letter.jpg").write_bytes(b"dear reader, this is no picture")
    (pictures.parent / "outside.png").write_bytes(encoded(noise(9)))
    (pictures / "link.png").symlink_to(pictures.parent / "outside.png")
    table = pictures / "t.csv"
    table.write_text(
        "file_name,caption,price,code\n"
        "red apple.png,an apple,3,007\n"
        f"{pictures / 'old house.webp'},a house,4,008\n"
        "green-tree.bmp,,5,009\n"
        "none.png,nothing,6,010\n"
        "../outside.png,out,7,011\n"
        "/etc/passwd,out,8,012\n"
        "link.png,out,9,013\n"
        "empty.png,empty,1,014\n"
        "letter.jpg,letter,1,015\n"
        ",no picture,1,016\n"
        "https://example.org/a.png,web,1,017\n"
        "blue_car-02.jpg,too,many,fields,here\n"
        "blue_car-02.jpg,few\n"
    )
    found = read(table)
    assert found.values("image") == ["red apple.png", "old house.webp"] == found.ids.tolist()
    assert found.values("text") == ["an apple", "a house"]
    assert found.values("price") == [3, 4] and found.values("code") == ["007", "008"]
    said = reasons(found)
    assert said["t.csv:4"] == "empty caption"
    assert "there is no file 'none.png'" in said["t.csv:5"]
    assert "'..'" in said["t.csv:6"] and "absolute" in said["t.csv:7"] and "is a link" in said["t.csv:8"]
    assert "0 bytes" in said["t.csv:9"] and "not a picture" in said["t.csv:10"]
    assert said["t.csv:11"] == "empty file_name" and "an address" in said["t.csv:12"]
    assert "5 fields, and the header has 4" in said["t.csv:13"] and "2 fields" in said["t.csv:14"]
    assert len(found.problems) == 11
    assert "kept as filters, never taken as input: price, code" in about(found)["notes"]
    assert sum(row[1] for row in problems_table(found).rows) == 11
    assert summary(found).figure("problems").value == 11


def test_unknown_columns_never_become_input(tmp_path):
    (tmp_path / "t.csv").write_text("anchor,positive,secret\na question,an answer,leak\nwhy,because,leak\n")
    found = read(tmp_path / "t.csv")
    sides = found.sides()
    assert (sides.query.column, sides.document.column) == ("anchor", "positive")
    assert found.values("secret") == ["leak", "leak"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no items"),
        ("anchor,positive\n", "holds no items"),
        ("anchor,positive\n,\n , \n", "nothing in t.csv can be used|holds no items"),
        ("anchor,positive\n,x\ny,\n", "nothing in t.csv can be used: 2 items"),
        ("colour,price\nred,1\n", "cannot tell what the items"),
        ("anchor,positive\na.png,b.png\nc.jpg,d.jpg\n", "holds paths of pictures"),
        ("text,text\na,b\n", "2 columns named 'text'"),
    ],
)
def test_a_table_without_anything_usable_says_what_to_do(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "t.csv")


def test_encodings_and_separators(tmp_path):
    rows = "anchor;positive\nGrüße;привет\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "t.csv").write_bytes(rows.encode(encoding))
        assert read(tmp_path / "t.csv").values("positive") == ["привет"]
    (tmp_path / "t.tsv").write_text(rows.replace(";", "\t"))
    assert read(tmp_path / "t.tsv").values("anchor") == ["Grüße"]
    with gzip.open(tmp_path / "t.csv.gz", "wb") as file:
        file.write(rows.encode())
    assert read(tmp_path / "t.csv.gz").values("anchor") == ["Grüße"]
    (tmp_path / "t.csv.gz").write_bytes((tmp_path / "t.csv.gz").read_bytes()[:25])
    with pytest.raises(DataError, match="cut short"):
        read(tmp_path / "t.csv.gz")


def test_rows_that_are_not_utf8_are_problems_and_the_rest_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"anchor,positive\nGr\xfc\xdfe,hello\ngood,day\n")
    found = read(tmp_path / "t.csv")
    assert found.values("anchor") == ["good"] and "not valid UTF-8" in reasons(found)["t.csv:2"]
    (tmp_path / "b.csv").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError, match="binary file"):
        read(tmp_path / "b.csv")


def test_lines_and_texts_without_end_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.data.lines.lines.__kwdefaults__", {"limit": 1000})
    (tmp_path / "t.jsonl").write_text(
        json.dumps({"anchor": "x" * 5000, "positive": "y"}) + "\n" + json.dumps({"anchor": "a", "positive": "b"}) + "\n"
    )
    found = read(tmp_path / "t.jsonl")
    assert len(found) == 1 and "a line longer than" in reasons(found)["t.jsonl:1"]


def test_quotes_that_never_close_are_one_problem(tmp_path):
    (tmp_path / "t.csv").write_text('anchor,positive\ngood,day\n"never closed,x\nmore,lines\n')
    found = read(tmp_path / "t.csv")
    assert found.values("anchor") == ["good"] and "quotes that do not close" in reasons(found)["t.csv:3"]


def test_jsonl_with_every_kind_of_bad_line(tmp_path):
    lines = [
        '{"anchor": "a", "positive": "b", "tags": ["x"], "n": 1}',
        '{"anchor": "a", "positive": 5}',
        "[1, 2]",
        "{broken",
        '{"anchor": null, "positive": "b"}',
        "",
        '{"positive": "b"}',
        '{"anchor": "' + "\\ud800" + '", "positive": "b"}',
        '{"anchor": "c", "positive": "d", "x": ' + "[" * 50 + "]" * 50 + "}",
        "[" * 100_000,
        '{"anchor": ["a"], "positive": "d"}',
        '{"anchor": "e", "positive": "f", "n": 2}',
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    found = read(tmp_path / "t.jsonl")
    assert found.values("anchor") == ["a", "e"] and found.values("n") == [1, 2] and "tags" not in found.columns
    said = reasons(found)
    assert "a number, not text" in said["t.jsonl:2"] and "not a record" in said["t.jsonl:3"]
    assert "not JSON" in said["t.jsonl:4"] and said["t.jsonl:5"] == said["t.jsonl:7"] == "empty anchor"
    assert "UTF-8" in said["t.jsonl:8"] and "more than 32 deep" in said["t.jsonl:9"]
    assert "deep" in said["t.jsonl:10"] and "a list, not text" in said["t.jsonl:11"]


def test_one_list_of_records(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps([{"text": "a b", "label": 1}, 5, {"text": "c d", "label": 2}]))
    found = read(tmp_path / "t.json")
    assert found.values("label") == [1, 2] and reasons(found)["t.json:2"] == "not a record"
    (tmp_path / "t.json").write_text('[{"text": "a"')
    with pytest.raises(DataError, match="not JSON"):
        read(tmp_path / "t.json")


def test_mistyped_scores_and_labels_are_problems(tmp_path):
    rows = [
        {"sentence1": "a", "sentence2": "b", "score": 0.5},
        {"sentence1": "c", "sentence2": "d", "score": "high"},
        {"sentence1": "e", "sentence2": "f", "score": None},
        {"sentence1": "g", "sentence2": "h", "score": "nan"},
        {"sentence1": "i", "sentence2": "j", "score": True},
        {"sentence1": "k", "sentence2": "l", "label": [1]},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    found = read(tmp_path / "t.jsonl")
    assert found.values("score") == [0.5, None] and len(found.problems) == 4


def test_ids_are_kept_repeated_ones_numbered_and_missing_ones_made_of_the_content(tmp_path):
    (tmp_path / "a.csv").write_text("id,text,label\nx,one,1\nx,two,1\ny,three,2\n")
    assert read(tmp_path / "a.csv").ids.tolist() == ["x", "x#2", "y"]
    (tmp_path / "b.csv").write_text("text,label\none,1\ntwo,1\none,1\n")
    (tmp_path / "c.csv").write_text("text,label\ntwo,1\none,1\n")
    first, second = read(tmp_path / "b.csv"), read(tmp_path / "c.csv")
    assert first.ids[2] == f"{first.ids[0]}#2"
    assert second.ids.tolist() == [first.ids[1], first.ids[0]]


def test_captions_of_one_picture_stay_apart_and_are_one_picture(pictures):
    (pictures / "t.csv").write_text("image,caption\nred apple.png,an apple\nred apple.png,a fruit\n")
    found = read(pictures / "t.csv")
    assert found.ids.tolist() == ["red apple.png", "red apple.png#2"]
    assert found.values("image") == ["red apple.png"] * 2


def test_parquet_with_pictures_and_class_names(tmp_path):
    image = pa.array(
        [{"bytes": encoded(noise(i)), "path": None} for i in range(3)] + [{"bytes": b"", "path": None}, None],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    table = pa.table({"image": image, "label": pa.array([0, 1, None, 0, 0]), "day": pa.array([1] * 5, pa.date32())})
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert found.values("label") == ["cat", "dog", None] and len(found.problems) == 2
    assert found.values("image")[1] == encoded(noise(1)) and found.values("day")[0] == "1970-01-02"


def test_parquet_by_blocks_in_a_folder_and_damaged(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for part in range(3):
        rows = [f"text number {part} {i}" for i in range(5000)]
        pq.write_table(pa.table({"text": rows, "label": [part] * 5000}), folder / f"part-{part}.parquet")
    told = []
    found = read(folder, progress=lambda *a: told.append(a))
    assert len(found) == 15_000 and told[-1] == (15_000, 15_000) and len(told) > 3
    file = folder / "part-1.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a Parquet file"):
        read(folder)


def test_a_mistyped_column_of_parquet_is_said_row_by_row_until_nothing_is_left(tmp_path):
    pq.write_table(pa.table({"anchor": [1, 2], "positive": ["a", "b"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="anchor holds a number, not text"):
        read(tmp_path / "t.parquet")


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda t: any(c.isprintable() and not c.isspace() for c in t) and not t.strip().lower().endswith((".png", ".jpg"))
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(
    rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=20),
    kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]),
)
@QUICK
def test_what_is_written_is_read_back(tmp_path, rows, kind):
    file = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"anchor": [a for a, _ in rows], "positive": [b for _, b in rows]}), file)
    elif kind == "jsonl":
        file.write_text("\n".join(json.dumps({"anchor": a, "positive": b}) for a, b in rows), encoding="utf-8")
    else:
        with file.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened, delimiter="," if kind == "csv" else "\t", quoting=csv.QUOTE_ALL)
            writer.writerows([("anchor", "positive"), *rows])
    if kind in ("csv", "tsv") and any("\0" in cell for row in rows for cell in row):
        return
    found = read(file)
    assert list(zip(found.values("anchor"), found.values("positive"), strict=True)) == [
        (a.strip(), b.strip()) for a, b in rows
    ]
    assert len(set(found.ids)) == len(rows) and len(found.problems) == 0
    again = read(file)
    assert again.fingerprint == found.fingerprint


@given(data=st.binary(max_size=300), kind=st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet", "tar", "csv.gz"]))
@QUICK
def test_any_bytes_give_a_collection_or_a_reason(tmp_path, data, kind):
    file = tmp_path / f"t.{kind}"
    file.write_bytes(data)
    try:
        assert len(read(file)) > 0
    except DataError as error:
        assert str(error)
