from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import documents, read
from tellapart.data.images import open_image
from tellapart.data.provenance import about
from tellapart.data.readers.tar_shards import expand

from .conftest import bomb, encoded, noise


def reasons(collection):
    return {row["id"]: row["reason"] for row in collection.problems.to_pylist()}


def save(folder, *names, start=0):
    for i, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        noise(start + i).save(file)


def test_a_folder_with_telling_names(pictures):
    found = read(pictures)
    assert found.ids.tolist() == ["blue_car-02.jpg", "green-tree.bmp", "old house.webp", "red apple.png"]
    assert found.values("text") == ["blue car", "green tree", "old house", "red apple"]
    assert found.root == pictures and found.sides().query.column == "text"
    assert found.fingerprint == read(pictures).fingerprint


def test_a_folder_with_every_kind_of_bad_file(pictures):
    (pictures / "a zero.png").write_bytes(b"")
    (pictures / "a letter.jpg").write_bytes(b"no picture at all")
    (pictures / "a bomb.png").write_bytes(bomb())
    (pictures / "a drawing.svg").write_text("<svg/>")
    (pictures / "IMG_0001.jpg").write_bytes(encoded(noise(7), "JPEG"))
    (pictures / "wrong name.png").write_bytes(encoded(noise(8), "JPEG"))
    (pictures / "readme.txt").write_text("nothing")
    (pictures / ".hidden.png").write_bytes(b"")
    (pictures.parent / "outside.png").write_bytes(encoded(noise(9)))
    (pictures / "a link.png").symlink_to(pictures.parent / "outside.png")
    (pictures / "a loop").symlink_to(pictures)
    found = read(pictures)
    assert len(found) == 5 and "wrong name.png" in found.ids
    said = reasons(found)
    assert "0 bytes" in said["a zero.png"] and "not a picture" in said["a letter.jpg"]
    assert "refused before decoding" in said["a bomb.png"] and "convert it to PNG" in said["a drawing.svg"]
    assert "its file name says nothing" in said["IMG_0001.jpg"] and "leads out" in said["a link.png"]
    assert len(said) == 6
    assert any("wrong name.png: named as PNG, is JPEG" in note for note in about(found)["notes"])


def test_names_in_many_scripts_and_one_that_is_no_text(tmp_path):
    names = [
        "яблоко.png",
        "蘋果.png",
        "سيارة زرقاء.png",
        "การ์ตูน.png",
        "cafe\u0301 noir.png",
        "🍌🍌.png",
        "a'b\"c;d.png",
    ]
    save(tmp_path, *names)
    found = read(tmp_path)
    assert sorted([*found.ids, *reasons(found)]) == sorted(names)
    assert "café noir" in found.values("text") and "яблоко" in found.values("text")
    (tmp_path / "t.csv").write_text("image,caption\ncaf\u00e9 noir.png,coffee\n", encoding="utf-8")
    assert read(tmp_path / "t.csv").values("text") == ["coffee"]


def test_a_name_that_is_not_utf8_is_a_problem(tmp_path):
    import os

    save(tmp_path, "red apple.png")
    try:
        with open(os.fsencode(tmp_path) + b"/bad \xff name.png", "wb") as file:
            file.write(encoded(noise(1)))
    except OSError:
        pytest.skip("this file system takes no such names")
    found = read(tmp_path)
    assert len(found) == 1 and "not valid UTF-8" in found.problems["reason"][0].as_py()


def test_captions_beside_the_pictures(tmp_path):
    save(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png", "f.png")
    (tmp_path / "a.txt").write_text("an apple\n")
    (tmp_path / "b.txt").write_text("a car\nsomething blue\n")
    (tmp_path / "c.json").write_text(json.dumps({"text": "a house", "label": 3, "year": 1999}))
    (tmp_path / "d.txt").write_text("  \n")
    (tmp_path / "e.json").write_text("{broken")
    found = read(tmp_path)
    assert found.values("text") == ["an apple", "a car", "a house"]
    assert found.values("alternatives") == [None, ["something blue"], None]
    assert found.values("year") == [None, None, 1999]
    said = reasons(found)
    assert said["d.png"] == "empty text" and "not JSON" in said["e.png"] and "no caption" in said["f.png"]


def test_folders_are_labels(tmp_path):
    save(tmp_path, *[f"{c}/{c}.{i}.jpg" for c in ("cat", "dog") for i in range(4)])
    found = read(tmp_path)
    assert "text" not in found.columns and found.values("label") == ["cat"] * 4 + ["dog"] * 4
    assert found.sides().same_space and found.ids[0] == "cat/cat.0.jpg"


def test_folders_in_folders_are_a_hierarchy(tmp_path):
    save(tmp_path, *[f"pet/{c}/{i}.jpg" for c in ("cat", "dog") for i in range(2)], "wild/fox/0.jpg")
    found = read(tmp_path)
    assert found.values("label") == found.values("folder_2") == ["pet/cat"] * 2 + ["pet/dog"] * 2 + ["wild/fox"]
    coarse = read(tmp_path, columns={"label": "folder_1"})
    assert coarse.values("label") == ["pet"] * 4 + ["wild"] and coarse.values("folder_2") == found.values("label")
    with pytest.raises(DataError, match="the levels of the folders are folder_1, folder_2"):
        read(tmp_path, columns={"label": "folder_9"})
    with pytest.raises(DataError, match="only label=folder_1"):
        read(tmp_path, columns={"text": "folder_1"})


def test_folders_of_splits_and_labels(tmp_path):
    save(tmp_path, *[f"{s}/{c}/{i}.png" for s in ("train", "val", "test") for c in ("cat", "dog") for i in range(2)])
    found = read(tmp_path)
    assert set(found.values("split")) == {"train", "validation", "test"} and set(found.values("label")) == {
        "cat",
        "dog",
    }


def test_folders_with_telling_names_keep_captions_and_labels(tmp_path):
    save(tmp_path, "fruit/red apple.png", "fruit/banana.png", "cars/blue van.png", "cars/truck.png")
    found = read(tmp_path)
    assert found.values("text") == ["blue van", "truck", "banana", "red apple"]
    assert found.values("label") == ["cars", "cars", "fruit", "fruit"]
    save(tmp_path, "deep/er/cherry.png")
    assert "label" not in read(tmp_path).columns


def test_pictures_without_captions_and_a_folder_without_pictures(tmp_path):
    save(tmp_path, "IMG_1.png", "IMG_2.png")
    found = read(tmp_path)
    assert found.columns == ["id", "image"] and any("say nothing" in n for n in about(found)["notes"])
    with pytest.raises(DataError, match="cannot tell what is searched"):
        found.sides()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no items. Give a folder with pictures"):
        read(tmp_path / "empty")
    (tmp_path / "empty" / "a b.png").write_bytes(b"")
    with pytest.raises(DataError, match="nothing in empty can be used: 1 items"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_as_hugging_face_writes_it(tmp_path, kind):
    import pyarrow.parquet as pq

    save(tmp_path, "train/a.png", "train/b.png", "test/c.png", "test/not listed.png")
    for part, rows in (("train", [("a.png", "an apple"), ("b.png", "a car")]), ("test", [("c.png", "a house")])):
        file = tmp_path / part / f"metadata.{kind}"
        if kind == "csv":
            file.write_text("file_name,text\n" + "".join(f"{n},{t}\n" for n, t in rows))
        elif kind == "jsonl":
            file.write_text("\n".join(json.dumps({"file_name": n, "text": t}) for n, t in rows))
        else:
            pq.write_table(pa.table({"file_name": [n for n, _ in rows], "text": [t for _, t in rows]}), file)
    found = read(tmp_path)
    assert dict(zip(found.values("image"), found.values("text"), strict=True)) == {
        "train/a.png": "an apple", "train/b.png": "a car", "test/c.png": "a house",
    }  # fmt: skip
    assert sorted(found.values("split")) == ["test", "train", "train"]


def test_a_saved_hugging_face_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "n": datasets.Value("int32")}
    )
    rows = {
        "image": [{"bytes": encoded(noise(i)), "path": None} for i in range(4)],
        "label": [0, 1, 1, 0],
        "n": [1, 2, 3, 4],
    }
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(tmp_path / "one", num_shards=2)
    found = read(tmp_path / "one")
    assert found.values("label") == ["cat", "dog", "dog", "cat"] and found.values("n") == [1, 2, 3, 4]
    assert open_image(found.values("image")[2]).tobytes() == noise(2).tobytes()
    datasets.DatasetDict({"train": made, "validation": made.select([0])}).save_to_disk(tmp_path / "two")
    assert read(tmp_path / "two").values("split") == ["train"] * 4 + ["validation"]
    pairs = datasets.Dataset.from_dict({"anchor": ["a", "b"], "positive": ["c", "d"]})
    pairs.save_to_disk(tmp_path / "three")
    assert read(tmp_path / "three").values("positive") == ["c", "d"]
    state = json.loads((tmp_path / "three" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../one/data-00000-of-00002.arrow"}]
    (tmp_path / "three" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="leads out of the folder"):
        read(tmp_path / "three")
    next((tmp_path / "one").glob("*.arrow")).write_bytes(b"short")
    with pytest.raises(DataError, match="is damaged"):
        read(tmp_path / "one")


def write_beir(folder, qrels):
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": f"title {i}", "text": f"document {i}"} for i in range(6)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{i}", "text": f"query {i}"}) for i in range(3))
    )
    for name, rows in qrels.items():
        (folder / "qrels" / name).write_text(
            "query-id\tcorpus-id\tscore\n" + "".join("\t".join(map(str, r)) + "\n" for r in rows)
        )


def test_beir_keeps_several_relevant_documents(tmp_path):
    train = [("q0", "d0", 1), ("q0", "d1", 2), ("q1", "d1", 1)]
    test = [("q2", "d3", 1), ("q2", "d4", 0), ("q2", "d9", 1), ("q7", "d0", 1)]
    write_beir(tmp_path / "b", {"train.tsv": train, "test.tsv": test})
    found = read(tmp_path / "b")
    assert found.ids.tolist() == ["q2/d3", "q0/d0", "q0/d1", "q1/d1"]
    assert found.values("target") == ["q2", "q0", "q0", "q1"] and found.sides().target == "target"
    assert found.values("positive")[1] == "title 0 document 0" and found.values("score") == [1, 1, 2, 1]
    assert found.values("split") == ["test", "train", "train", "train"]
    said = reasons(found)
    assert "document is missing" in said["q2/d9"] and "query is missing" in said["q7/d0"]
    assert "6 documents are searched, 3 of them are relevant to a query" in about(found)["notes"]
    whole = documents(tmp_path / "b")
    assert len(whole) == 6 and whole.values("positive")[5] == "title 5 document 5" and whole.ids[0] == "d0"
    assert whole.values("title")[0] == "title 0" and {*found.values("document_id")} <= {*whole.ids}


def test_a_folder_of_longembed_is_read_as_one_of_beir(tmp_path):
    texts = {
        "corpus": [{"doc_id": f"d{i}", "text": f"long text {i}", "context_length": 256} for i in range(4)],
        "queries": [{"qid": f"q{i}", "text": f"query {i}", "doc_id": f"d{i}"} for i in range(3)],
        "qrels": [{"qid": "q0", "doc_id": "d0"}, {"qid": "q1", "doc_id": "d3"}, {"qid": "q2"}],
    }
    for name, rows in texts.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read(tmp_path)
    assert found.ids.tolist() == ["q0/d0", "q1/d3"] and found.values("anchor") == ["query 0", "query 1"]
    assert found.values("positive") == ["long text 0", "long text 3"] and found.sides().target == "target"
    assert "write qid and doc_id" in " ".join(reasons(found).values())
    assert documents(tmp_path).ids.tolist() == [f"d{i}" for i in range(4)]


def test_only_a_format_that_keeps_documents_apart_has_them(pictures):
    assert documents(pictures) is None and documents("openmoji") is None and documents(pictures / "nothing") is None


def test_beir_without_judgements_says_what_to_do(tmp_path):
    write_beir(tmp_path / "b", {})
    with pytest.raises(DataError, match=r"holds no .tsv file. A BEIR folder holds"):
        read(tmp_path / "b")


def add(tar, name, data, **changes):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in changes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(data))


def test_tar_shards(tmp_path):
    for shard in range(3):
        with tarfile.open(tmp_path / f"s-{shard:04d}.tar", "w") as tar:
            for i in range(3):
                key = f"{shard}{i:03d}"
                add(tar, f"{key}.jpg", encoded(noise(shard * 3 + i), "JPEG"))
                add(tar, f"{key}.txt", f"caption {key}".encode())
                add(tar, f"{key}.json", json.dumps({"width": i, "nested": {"a": 1}}).encode())
    found = read(tmp_path)
    assert len(found) == 9 and found.values("text")[4] == "caption 1001" and found.values("width") == [0, 1, 2] * 3
    assert open_image(found.values("image")[0]).size == (32, 24) and "nested" not in found.columns
    part = read(f"{tmp_path}/s-{{0000..0001}}.tar")
    assert part.ids.tolist() == ["0000", "0001", "0002", "1000", "1001", "1002"]
    assert len(read(tmp_path / "s-0002.tar")) == 3
    with pytest.raises(DataError, match=r"there is no shard .*s-0003.tar \(1 of 2"):
        read(tmp_path / "s-{0002..0003}.tar")


def test_hostile_members_of_a_tar_are_problems(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "good.png", encoded(noise(0)))
        add(tar, "good.cls", b"3")
        add(tar, "../../up.png", encoded(noise(1)))
        add(tar, "/root.png", encoded(noise(1)))
        add(tar, "link.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "zero.png", b"")
        add(tar, "zero.cls", b"1")
        add(tar, "bomb.png", bomb())
        add(tar, "bomb.cls", b"1")
        add(tar, "deep.png", encoded(noise(2)))
        add(tar, "deep.json", b"[" * 100_000)
        add(tar, "deep.cls", b"2")
        add(tar, "large.cls", b"x" * 2_000_000)
    found = read(tmp_path / "s.tar")
    assert found.ids.tolist() == ["good", "deep"] and found.values("label") == ["3", "2"]
    said = list(found.problems.to_pylist())
    text = " ".join(f"{p['place']} {p['reason']}" for p in said)
    for words in (
        "up.png",
        "root.png",
        "a link or a device",
        "0 bytes",
        "refused before decoding",
        "deep",
        "too large",
    ):
        assert words in text
    assert list(tmp_path.iterdir()) == [tmp_path / "s.tar"]


def test_a_tar_cut_short_keeps_what_came_before(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for i in range(5):
            add(tar, f"{i}.png", encoded(noise(i, 100, 100)))
            add(tar, f"{i}.txt", f"caption {i}".encode())
    data = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(data[: len(data) // 2])
    found = read(tmp_path / "s.tar")
    assert 0 < len(found) < 5 and "damaged or cut short" in found.problems["reason"][0].as_py()


def test_patterns_of_shards():
    assert expand("a{08..11}.tar") == ["a08.tar", "a09.tar", "a10.tar", "a11.tar"]
    assert expand("{x,y}/{0..1}.tar") == ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]
    for wrong in ("{5..1}.tar", "{0..99999999}.tar", "{0..9999}{0..9999}.tar"):
        with pytest.raises(DataError):
            expand(wrong)


def test_a_saved_collection_is_opened_again(tmp_path, pictures):
    found = read(pictures)
    found.save(tmp_path / "saved")
    again = read(tmp_path / "saved")
    assert again.fingerprint == found.fingerprint and again.root == pictures and about(again) == about(found)
    (tmp_path / "saved" / "collection.arrow").write_bytes(b"ARROW1 but cut")
    with pytest.raises(DataError, match="damaged or no collection"):
        read(tmp_path / "saved")


def test_what_is_not_there_or_of_no_known_format(tmp_path):
    (tmp_path / "prices.csv").write_text("x")
    with pytest.raises(DataError, match=r"did you mean prices.csv"):
        read(tmp_path / "price.csv")
    with pytest.raises(DataError, match="did you mean openmoji"):
        read("openmojis")
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(DataError, match="of no format that is read"):
        read(tmp_path / "a.docx")
    with pytest.raises(DataError, match="not a folder"):
        read(tmp_path / "prices.csv", root=tmp_path / "none")


def test_root_says_where_the_pictures_lie(tmp_path, pictures):
    (tmp_path / "t.csv").write_text("image,caption\nred apple.png,an apple\n")
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "t.csv")
    found = read(tmp_path / "t.csv", root=pictures)
    assert isinstance(found, Collection) and found.root == pictures


def test_every_reader_keeps_the_contract_of_the_folder():
    from tellapart.data.sources import _readers

    assert len(_readers()) >= 8
    for module in _readers():
        assert isinstance(module.ORDER, int) and callable(module.accepts) and callable(module.read) and module.__doc__
