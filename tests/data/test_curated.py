"""The result of curation kept by content: used again, and never for files that changed."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest

from tellapart.core.collection import FILE, Collection
from tellapart.core.errors import DataError
from tellapart.data import curate, read
from tellapart.data.provenance import about

from .conftest import encoded, noise


def kept(folder, cache, **options):
    told = []
    return curate(read(folder), cache=cache, say=told.append, **options), bool(told)


def equal(a, b):
    assert a.columns == b.columns and a.fingerprint == b.fingerprint and about(a) == about(b)
    assert a.problems.equals(b.problems)
    assert all(a.provenance(c) == b.provenance(c) for c in a.columns)


@pytest.fixture
def some(pictures):
    shutil.copy(pictures / "red apple.png", pictures / "another apple.png")
    (pictures / "half.png").write_bytes(encoded(noise(9))[:-100])
    return pictures


def test_the_second_time_nothing_is_decoded_and_nothing_differs(some, tmp_path, monkeypatch):
    first, found = kept(some, tmp_path)
    assert not found and len(first) == 5 and len(first.problems) == 1
    equal(first, curate(read(some)))
    monkeypatch.setattr(sys.modules["tellapart.data.identity"], "open_image", None)
    again, found = kept(some, tmp_path)
    assert found and "was read from the cache" not in str(about(again))
    equal(first, again)


def change_a_pixel(folder):
    image = noise(0)
    image.putpixel((0, 0), (1, 2, 3))
    image.save(folder / "red apple.png")


def repair(folder):
    (folder / "half.png").write_bytes(encoded(noise(9)))


def rename(folder):
    (folder / "old house.webp").rename(folder / "new house.webp")


def add(folder):
    noise(50).save(folder / "yellow boat.png")


def take_away(folder):
    (folder / "another apple.png").unlink()


@pytest.mark.parametrize("change", [change_a_pixel, repair, rename, add, take_away])
def test_a_change_is_noticed(some, tmp_path, change):
    kept(some, tmp_path)
    change(some)
    made, found = kept(some, tmp_path)
    assert not found
    equal(made, curate(read(some)))
    assert kept(some, tmp_path)[1]


def test_texts_and_vectors_and_rules(tmp_path, monkeypatch):
    file = tmp_path / "t.csv"
    rows = [f"question {i % 7},answer number {i}\n" for i in range(20)]
    file.write_text("anchor,positive\n" + "".join(rows))
    first, found = kept(file, tmp_path / "c")
    assert not found and "target" in first.columns
    again, found = kept(file, tmp_path / "c")
    assert found
    equal(first, again)
    z = np.eye(20, dtype=np.float32)
    assert not kept(file, tmp_path / "c", embeddings=z)[1] and kept(file, tmp_path / "c", embeddings=z)[1]
    assert not kept(file, tmp_path / "c", embeddings=z, same_cosine=0.9)[1]
    assert not kept(file, tmp_path / "c", embeddings=-z)[1]
    file.write_text("anchor,positive\n" + "".join(["question 1,another answer\n", *rows[1:]]))
    assert not kept(file, tmp_path / "c")[1]
    monkeypatch.setattr(sys.modules["tellapart.data.identity"], "RULE", 0)
    assert not kept(file, tmp_path / "c")[1]


def test_a_given_target_is_no_finding(tmp_path):
    given = Collection.of({"anchor": ["a", "a", "b"], "positive": ["x", "y", "z"], "target": pa.array([1, 2, 3])})
    for _ in range(2):
        assert curate(given, cache=tmp_path).values("target") == [1, 2, 3]


def test_a_damaged_entry_is_made_again(some, tmp_path):
    kept(some, tmp_path)
    (file,) = tmp_path.glob(f"*/{FILE}")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    made, found = kept(some, tmp_path)
    assert not found
    equal(made, curate(read(some)))
    assert kept(some, tmp_path)[1]


def test_a_cache_that_cannot_be_written_is_said(some, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        kept(some, tmp_path / "file")
