"""A width that is left to the build, and indexes of FAISS's factory that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, make
from tellapart.engine.indexing import AIM, build, open_index


def unit(n, d=32):
    z = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return [f"i{i:04d}" for i in range(n)], z / np.linalg.norm(z, axis=1, keepdims=True)


def test_a_width_left_to_the_build_grows_until_the_recall_is_there(tmp_path):
    ids, z = unit(3000)
    index, report = build("hnsw(links=8, construction=40)", ids, z, tmp_path / "auto")
    fixed, narrow = build("hnsw(links=8, construction=40, width=64)", ids, z, tmp_path / "fixed")
    assert index.chosen["width"] > 64 and report.figure("width chosen at build").value == index.chosen["width"]
    assert report.figure("recall@10").value >= AIM > narrow.figure("recall@10").value
    assert not fixed.chosen and not fixed.wider()
    again = open_index(tmp_path / "auto")
    assert again.chosen == index.chosen
    assert (again.search(z[:50], 10).ids == index.search(z[:50], 10).ids).all()


def test_a_width_is_not_raised_where_64_is_enough(tmp_path):
    ids, z = unit(500, 8)
    assert build("hnsw", ids, z, tmp_path)[0].chosen == {"width": 64}


@pytest.mark.parametrize("name", ["hnsw", "ivf", "rabitq"])
def test_names_with_the_library_before_them(name):
    assert card_of("index", f"faiss-{name}").name == name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factory": "nonsense"}, "could not parse"),
        ({"factory": "HNSW99999"}, "takes 1 to 512"),
        ({"factory": "IVF16,Flat", "parameters": "colour=3"}, "could not set parameter colour"),
        ({"factory": "PQ7", "parameters": ""}, "multiple"),
        ({"factory": "IDMap,Flat", "parameters": ""}, "add_with_ids"),
        ({"factory": "Flat; import os"}, "pattern"),
    ],
)
def test_what_faiss_cannot_make_is_said_in_words(options, words):
    ids, z = unit(1500)
    with pytest.raises(PartError, match=words):
        index = make("index", "faiss", **options)
        index.add(ids, z)
        index.search(z[:1], 3)


def test_a_trained_index_is_saved_and_read(tmp_path):
    ids, z = unit(3000)
    index = make("index", "faiss", factory="IVF32,SQ8", parameters="nprobe=4")
    index.add(ids, z)
    index.delete(ids[:100])
    before = index.search(z[:20], 5)
    index.save(tmp_path)
    again = open_index(tmp_path)
    hits = again.search(z[:20], 5)
    assert (hits.ids == before.ids).all() and not set(hits.ids.ravel().tolist()) & set(ids[:100])
    again.add(["new"], -z[:1])
    assert again.search(-z[:1], 1).ids[0, 0] == "new"
