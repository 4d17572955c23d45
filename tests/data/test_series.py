"""Windows of recordings: what is read, what is refused in words, and what becomes of them."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.data import curate, read
from tellapart.data.provenance import about
from tellapart.data.series import open_series, packed, series_source, thumbnail
from tellapart.engine.embed import embed
from tellapart.engine.model import Head, Model

HEADER = (
    "#made up\n@problemName Toy\n@timeStamps false\n@univariate false\n@dimensions 3\n@classLabel true up down\n@data\n"
)


def window(seed: int, channels: int = 2, steps: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, steps)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A table that names two sensors of each window; both in files below it."""
    lines = ["id,series,other_series,label"]
    (tmp_path / "w").mkdir()
    for i in range(6):
        np.save(tmp_path / "w" / f"a{i}.npy", window(i))
        np.save(tmp_path / "w" / f"b{i}.npy", window(50 + i, 3))
        lines.append(f"n{i},w/a{i}.npy,w/b{i}.npy,{'up' if i % 2 else 'down'}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_folder_with_a_table_is_pairs_of_two_sensors(folder):
    found = read(folder)
    sides = found.sides()
    assert (sides.query.column, sides.document.column, sides.target) == ("series", "other_series", None)
    assert {sides.query.modality, sides.document.modality} == {"series"} and not sides.comparable
    assert found.values("label")[:2] == ["down", "up"] and not len(found.problems)
    opened = open_series(series_source(found.values("other_series")[4], found.root))
    np.testing.assert_array_equal(opened, window(54, 3))
    assert any("3 channels and 20 steps" in note for note in about(found)["notes"])


def test_one_sensor_with_labels_is_searched_with_itself(folder):
    found = read(folder / "metadata.csv", columns={"series": "other_series"})
    assert "other_series" not in found.columns and found.sides().same_space and found.sides().target == "label"
    assert open_series(series_source(found.values("series")[0], found.root)).shape == (3, 20)


def test_texts_are_searched_with_and_recordings_found(folder):
    (folder / "t.csv").write_text("text,series\na hop,w/a0.npy\na fall,w/a1.npy\n")
    sides = read(folder / "t.csv").sides()
    assert (sides.query.column, sides.document.column) == ("text", "series")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "bytes"])
def test_numbers_in_the_table(tmp_path, kind):
    rows = [{"series": window(i).tolist(), "label": str(i % 2)} for i in range(4)]
    if kind == "jsonl":
        (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
        found = read(tmp_path / "x.jsonl")
    else:
        cells = [row["series"] for row in rows] if kind == "parquet" else [packed(row["series"]) for row in rows]
        pq.write_table(pa.table({"wrist": cells, "label": ["0", "1", "0", "1"]}), tmp_path / "x.parquet")
        found = read(tmp_path / "x.parquet", columns={"series": "wrist"})
    for row, value in enumerate(found.values("series")):
        np.testing.assert_allclose(open_series(value), window(row), rtol=1e-6)


def test_a_column_of_words_named_series_is_a_filter(tmp_path):
    (tmp_path / "x.csv").write_text("text,label,series\na,1,Star Trek\nb,2,Dallas\n")
    found = read(tmp_path / "x.csv")
    assert found.sides().query.column == "text" and "series" not in found.columns


def test_channels_of_a_ts_file_become_two_sensors(tmp_path):
    rows = [
        ":".join(",".join(f"{v:.6f}" for v in c) for c in window(i, 3)) + f":{'up' if i % 2 else 'down'}"
        for i in range(4)
    ]
    (tmp_path / "Toy_TRAIN.ts").write_text(HEADER + "\n".join(rows))
    (tmp_path / "Toy_TEST.ts").write_text(
        HEADER + "\n".join(rows[:2]) + "\n1,2:1,2:up\n1,?:1,2:3,4:up\n1,2:a,2:3,4:up\n"
    )
    whole = read(tmp_path)
    assert whole.values("split") == ["train"] * 4 + ["test"] * 2 and whole.values("label")[:2] == ["down", "up"]
    np.testing.assert_allclose(open_series(whole.values("series")[3]), window(3, 3), atol=1e-6)
    said = " / ".join(p["reason"] for p in whole.problems.to_pylist())
    assert "another number of channels: 2, and the header says 3" in said
    assert "missing or infinite values: 1" in said and "no number among the values" in said
    pair = read(tmp_path / "Toy_TRAIN.ts", columns={"series": "0-1", "other_series": "2"})
    assert open_series(pair.values("series")[0]).shape == (2, 20)
    np.testing.assert_allclose(open_series(pair.values("other_series")[2]), window(2, 3)[2:], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"series": "wrist"}, "write numbers of channels"),
        ({"text": "0"}, "takes channels for series"),
        ({"other_series": "0"}, "those of series as well"),
        ({"series": "7"}, "no channel 7"),
        ({"series": "2-0"}, "they rise"),
    ],
)
def test_channels_that_are_not_there(tmp_path, columns, message):
    (tmp_path / "x.ts").write_text(HEADER + "1,2:1,2:3,4:up\n")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.ts", columns=columns)


def test_other_ts_files_are_left_to_others(tmp_path):
    (tmp_path / "program.ts").write_text("export const x = 1;\n")
    with pytest.raises(DataError, match="of no format that is read"):
        read(tmp_path / "program.ts")
    (tmp_path / "times.ts").write_text("@problemName x\n@timeStamps true\n@data\n(0,1),(1,2):a\n")
    with pytest.raises(DataError, match="a time beside every value"):
        read(tmp_path / "times.ts")


def test_what_is_no_window_is_a_problem_and_the_rest_is_read(folder):
    bad = {
        "nan": np.full((2, 5), np.nan), "empty": np.zeros((2, 0)), "wide": np.zeros((5, 9)), "cube": np.zeros((2,) * 3),
        "words": np.asarray([["a", "b"]]), "complex": np.zeros((2, 5), complex),
    }  # fmt: skip
    rows = ["id,series,label", "ok,w/a0.npy,x"]
    for name, array in bad.items():
        np.save(folder / f"{name}.npy", array)
        rows.append(f"{name},{name}.npy,y")
    np.save(folder / "object.npy", np.asarray([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "text.npy").write_text("no array")
    whole = packed(window(1))
    (folder / "short.npy").write_bytes(whole[:-8])
    (folder / "huge.npy").write_bytes(whole.replace(b"(2, 20), }        ", b"(2, 9999999999), }"))
    rows += [f"{name},{name}.npy,y" for name in ("object", "text", "short", "huge", "gone")] + ["ok2,w/a1.npy,y"]
    (folder / "bad.csv").write_text("\n".join(rows))
    found = read(folder / "bad.csv")
    assert found.ids.tolist() == ["ok", "ok2"]
    said = {p["id"]: p["reason"] for p in found.problems.to_pylist()}
    words = {
        "nan": "missing or infinite", "empty": "empty", "wide": "another number of channels: 5",
        "cube": "one or two axes", "words": "plain numbers", "complex": "plain numbers", "object": "plain numbers",
        "text": "no .npy file", "short": "cut short", "huge": "too large", "gone": "there is no file",
    }  # fmt: skip
    assert said.keys() == words.keys()
    for name, part in words.items():
        assert part in said[name], (name, said[name])


def test_equal_windows_are_one_group_and_lost_files_are_problems(folder):
    np.save(folder / "w" / "b3.npy", window(50, 3))
    found = read(folder)
    (folder / "w" / "a5.npy").unlink()
    made = curate(found, cache=folder / "cache")
    assert len(made) == 5 and "no such file" in made.problems.to_pylist()[0]["reason"]
    group = made.values("group")
    assert group[0] == group[3] and len(set(group)) == 4
    assert curate(found, cache=folder / "cache").values("hash") == made.values("hash")
    np.save(folder / "w" / "b0.npy", window(99, 3))
    assert len(set(curate(found, cache=folder / "cache").values("group"))) == 5


def test_a_first_sensor_that_repeats_makes_its_windows_positive(folder):
    np.save(folder / "w" / "a1.npy", window(0))
    made = curate(read(folder))
    assert made.values("target")[0] == made.values("target")[1] and len(set(made.values("target"))) == 5


def test_embedding_and_a_model_take_windows(folder):
    found = read(folder)
    encoder = make("encode", "rocket(kernels=20)")
    z = embed(found, "series", encoder, cache=folder / "cache")
    np.testing.assert_array_equal(z[2], encoder.encode([window(2)])[0])
    eye = {f"{name}": value for name, value in _state(40).items()}
    heads = {side: Head("linear-head(dim=8)", eye) for side in ("query", "document")}
    model = Model.load(Model(found.sides(), {"series": "rocket(kernels=20)"}, heads).save(folder / "model"))
    file = folder / "w" / "a2.npy"
    once = model.encode_query([window(2)])
    for same in (file, str(file), file.read_bytes()):
        np.testing.assert_array_equal(model.encode_query([same]), once)
    with pytest.raises(DataError, match=r"window 0 \(.*no such file"):
        model.encode_query([folder / "nothing.npy"])


def _state(width: int) -> dict[str, np.ndarray]:
    module = make("encode", "linear-head(dim=8)").module(width)
    return {name: value.numpy() for name, value in module.state_dict().items()}


def test_curves_are_drawn():
    picture = Image.open(io.BytesIO(thumbnail(packed(window(0)), size=96)))
    flat = Image.open(io.BytesIO(thumbnail(packed(np.zeros((40, 2))), size=96)))
    assert picture.size == flat.size == (96, 60) and len(np.unique(np.asarray(picture.convert("L")))) > 5


def test_a_number_to_tell_is_cut_into_labels():
    made = Collection.of({"series": [packed(window(i)) for i in range(3)], "score": [1.0, 2.0, 3.0]})
    from tellapart.data.tenths import with_tenths

    assert with_tenths(made).values("label") == ["1", "2", "3"]
