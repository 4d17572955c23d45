"""All documents of a BEIR folder, with what the pairs say of them."""

from __future__ import annotations

from tellapart.core.collection import Side
from tellapart.data import completed, curate, read
from tellapart.data.provenance import about
from tellapart.data.searched import searched

from .test_readers import write_beir


def test_every_document_once_with_its_queries(tmp_path):
    train = [("q0", "d0", 1), ("q0", "d1", 2), ("q1", "d1", 1)]
    write_beir(tmp_path / "b", {"train.tsv": train, "dev.tsv": [("q2", "d3", 1)], "test.tsv": [("q2", "d4", 1)]})
    pairs = read(tmp_path / "b")
    found = searched(tmp_path / "b", pairs)
    assert found is not None and found.ids.tolist() == [f"d{i}" for i in range(6)]
    assert found.values("anchor") == ["query 0", "query 0", None, "query 2", "query 2", None]
    assert found.values("split") == ["train", "train", None, "validation", "test", None]
    targets = found.values("target")
    assert targets[0] == targets[1] and targets[3] == targets[4] != targets[0] and targets[2] is targets[5] is None
    sides = found.sides()
    assert sides.document == Side("positive", "text") == pairs.sides().document and sides.query.column == "anchor"
    assert about(found)["notes"] == about(pairs)["notes"]


def test_curated_and_completed_pairs_do_too_and_other_formats_have_none(tmp_path, pictures):
    write_beir(tmp_path / "b", {"test.tsv": [(f"q{i}", f"d{i}", 1) for i in range(3)]})
    pairs = completed(curate(read(tmp_path / "b")), seed=0, shares=(0.4, 0.3, 0.3))
    found = searched(tmp_path / "b", pairs)
    assert found is not None and sorted(v for v in found.values("split") if v) == ["test", "train", "validation"]
    assert searched(pictures, read(pictures)) is None
