from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.data import read, shipped
from tellapart.data.images import open_image
from tellapart.data.provenance import about


def test_digits():
    pytest.importorskip("sklearn")
    found = read("digits")
    assert len(found) == 1797 and sorted(set(found.values("label"))) == list("0123456789")
    pixels = shipped.pixels(found)
    assert pixels.shape == (1797, 8, 8) and pixels.max() == 255 and pixels.min() == 0
    image = open_image(found.values("image")[5])
    assert (np.asarray(image)[..., 0] == pixels[5]).all()
    part = shipped.pixels(found.take([3, 5]))
    assert (part == pixels[[3, 5]]).all()
    assert found.sides().target == "label" and about(found)["licence"]


def write_fashion(folder, count=12, claimed=None):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem in ("train", "t10k"):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        with gzip.open(folder / f"{stem}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">IIII", 2051, claimed or count, 28, 28) + pixels.tobytes())
        with gzip.open(folder / f"{stem}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">II", 2049, count) + labels.tobytes())
    return pixels


def test_fashion_from_an_unpacked_package(tmp_path, monkeypatch):
    pixels = write_fashion(tmp_path / "usr/share/datasets/fashion-mnist")
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path))
    found = read("fashion")
    assert len(found) == 24 and found.ids[0] == "train-00000" and found.values("label")[1] == "trouser"
    assert found.values("split") == ["train"] * 12 + ["test"] * 12
    assert (shipped.pixels(found)[12:] == pixels).all()
    assert open_image(found.values("image")[0]).size == (28, 28)


@pytest.mark.parametrize(("claimed", "words"), [(13, "cut short"), (4_000_000_000, "more than there can be")])
def test_fashion_that_claims_what_it_has_not(tmp_path, monkeypatch, claimed, words):
    write_fashion(tmp_path / "fashion-mnist", claimed=claimed)
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path))
    with pytest.raises(DataError, match=words):
        shipped.fashion()


def test_a_missing_debian_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path))
    monkeypatch.setattr(shipped, "file_of_package", lambda file, below, package: real(file, ("none",), package))
    for name, package in (("fashion", "dataset-fashion-mnist"), ("wordnet", "wordnet-base")):
        with pytest.raises(DataError, match=f"apt-get install {package}"):
            read(name)


real = shipped.file_of_package

SYNSETS = {
    "noun": "  1 licence text\n"
    "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived; \"an entity\"  \n"
    "00001930 03 n 02 physical_entity 0 thing 1 001 @ 00001740 n 0000 | an entity that has physical existence  \n",
    "verb": "00001740 29 v 01 breathe 0 000 01 + 02 00 | draw air into the lungs; \"I breathe\"; \"she breathes\"  \n",
    "adj": "00001740 00 a 01 able(p) 0 000 | having the necessary means  \n",
    "adv": "00001740 02 r 01 a_cappella 0 000 | without musical accompaniment  \n",
}  # fmt: skip


def test_wordnet(tmp_path, monkeypatch):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part, text in SYNSETS.items():
        (folder / f"data.{part}").write_text(text)
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path))
    found = read("wordnet")
    assert found.ids.tolist() == ["n00001740", "n00001930", "v00001740", "a00001740", "r00001740"]
    assert found.item("n00001930") == {
        "id": "n00001930", "anchor": "physical entity, thing", "positive": "an entity that has physical existence",
        "gloss": "an entity that has physical existence", "hypernym": "n00001740", "lexname": "noun.Tops", "pos": "n",
        "lemmas": ["physical entity", "thing"],
    }  # fmt: skip
    assert (
        found.values("gloss")[0] == "that which is perceived" and found.values("gloss")[2] == "draw air into the lungs"
    )
    assert found.values("lexname")[2] == "verb.body" and found.values("anchor")[3] == "able"
    (folder / "data.adv").write_text("00001740 99 r 01 broken\n")
    with pytest.raises(DataError, match=r"data.adv:1 is not a synset"):
        read("wordnet")


def test_wordnet_relations(tmp_path, monkeypatch):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    pointers = "004 @ 00000009 a 0000 & 00000020 a 0000 + 00000009 n 0101 ! 00000020 a 0101"
    synsets = {
        "noun": "00000001 03 n 02 oak 0 oak_tree 0 003 @ 00000009 n 0000 ~ 00000009 n 0000 #m 00000009 n 0000 "
        "| a tree\n"
        '00000009 03 n 01 plant 0 001 ~ 00000001 n 0000 | what grows; "a green plant"\n',
        "adj": f"00000009 00 a 01 green 0 {pointers} | of leaves\n"
        "00000020 00 s 01 leafy 0 001 & 00000009 a 0000 | full of leaves\n",
    }
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{part}").write_text(synsets.get(part, ""))
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path))
    found = read("wordnet-relations")
    assert found.ids.tolist() == [
        "n00000001 @ n00000009", "n00000001 #m n00000009", "a00000009 @ a00000009", "a00000009 & a00000020",
    ]  # fmt: skip
    assert found.item("n00000001 #m n00000009") == {
        "id": "n00000001 #m n00000009", "anchor": "oak, oak tree (a tree) is a member of",
        "positive": "plant (what grows)", "head": "n00000001", "relation": "is a member of", "tail": "n00000009",
    }  # fmt: skip
    nodes = read("wordnet-graph")
    assert nodes.item("n00000001") == {
        "id": "n00000001", "text": "oak, oak tree (a tree)", "label": "noun.Tops", "pos": "n",
        "edges": [
            {"relation": "is a kind of", "node": "n00000009"}, {"relation": "is a member of", "node": "n00000009"},
        ],
    }  # fmt: skip
    assert nodes.values("edges")[1] == [] and nodes.sides().target == "label"
    (folder / "data.verb").write_text("00000003 29 v 01 grow 0 001 > 00000004 v 0000 01 + 02 00 | get larger\n")
    with pytest.raises(DataError, match="v00000003 of WordNet leads to v00000004, which is not there"):
        read("wordnet-relations")


SOURCE = '''
import nowhere_to_be_found
raise SystemExit("this module must not be run")

def first(a, b):
    """Add two numbers. The second sentence is left out."""
    total = a + b
    return total

class Room:
    def second(self):
        """Open the door
        of the room."""
        door = self.door
        return door.open()

def third():
    return "nothing is said"
'''


def test_docstrings_read_source_and_run_nothing(tmp_path, monkeypatch):
    package = tmp_path / "shelf"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text(SOURCE)
    (package / "broken.py").write_text("def (")
    (package / "tests" / "test_it.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = shipped.docstrings(["shelf"])
    assert found.ids.tolist() == ["shelf.main:first", "shelf.main:Room.second"]
    assert found.values("anchor") == ["Add two numbers.", "Open the door of the room."]
    assert found.values("positive")[0] == "def first(a, b):\n    total = a + b\n    return total"
    assert found.values("label") == ["shelf"] * 2 and found.values("concept") == ["shelf.main"] * 2
    assert len(shipped.docstrings(["shelf"], limit=1)) == 1
    for wrong in ("not_installed_anywhere", "os.path", "../etc"):
        with pytest.raises(DataError, match="not installed here"):
            shipped.docstrings([wrong])


def test_docstrings_of_json_are_in_one_order():
    first, second = shipped.docstrings(["json", "email"]), shipped.docstrings(["json", "email"])
    assert first.fingerprint == second.fingerprint and len(first) > 50 and not len(first.problems)
    assert all('"""' not in p.split("\n")[1] for p in first.values("positive"))


def test_an_unknown_name_is_refused_with_near_ones():
    with pytest.raises(DataError, match="did you mean digits"):
        shipped.load("digit")
