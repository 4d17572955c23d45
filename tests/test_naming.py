"""Items of none of some names, on pairs that are read from a file."""

from __future__ import annotations

import csv
import json
import random

import pytest

from tellapart import apply
from tellapart.core.errors import TellapartError
from tellapart.recipe import Recipe
from tellapart.run import run

KINDS = {
    "boat": ["sail", "harbour", "tide", "mast", "keel", "anchor"],
    "bread": ["oven", "flour", "yeast", "dough", "crust", "baker"],
    "moon": ["orbit", "rocket", "crater", "planet", "star", "telescope"],
}


def write(file, kinds):
    rng = random.Random(0)
    with file.open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(["id", "anchor", "positive", "kind"])
        for kind in kinds:
            for i in range(24):
                some = rng.sample(KINDS[kind], 3)
                said = f"the {some[0]} and the {some[1]} near the {some[2]}, number {i}"
                rows.writerow([f"{kind}-{i}", f"{kind} {some[0]} {i}", said, kind])
    return file


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(write(folder / "pairs.csv", KINDS), out=folder / "r", recipe=Recipe.of({"epochs": 1, "batch_size": 32}))
    return folder / "r"


def test_every_item_is_answered_and_false_alarms_need_labels(ran, tmp_path):
    new, out = write(tmp_path / "new.csv", ["boat", "moon"]), tmp_path / "all.jsonl"
    report = apply.detect(ran, new, names="boat, bread", by="kind", out=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 48 and set(rows[0]) == {"id", "score", "unknown", "name"}
    assert {r["name"] for r in rows} <= {"boat", "bread"} and all(0 <= r["score"] <= 1 for r in rows)
    assert report.figure("unknown share").value == sum(r["unknown"] for r in rows) / 48
    alarms = report.figure("false alarms on held-out items")
    said = " ".join(getattr(b, "text", "") for b in report.blocks)
    assert alarms.count > 5 and ("stops many items" in said) == (alarms.value > 0.2)
    plain = apply.detect(ran, new, names="boat,bread")
    assert "false alarms are not measured" in " ".join(getattr(b, "text", "") for b in plain.blocks)
    assert apply.detect(ran, new, score="clipn", by="kind").facts["names"] == "boat, bread, moon"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score": "clipn"}, "two names or more"),
        ({"names": "boat"}, "two names or more"),
        ({"names": "boat,bread", "score": "knn"}, "takes no names"),
        ({"names": "boat,bread", "by": "knd"}, "did you mean kind"),
    ],
)
def test_names_that_cannot_be_asked_are_said(ran, tmp_path, options, words):
    with pytest.raises(TellapartError, match=words):
        apply.detect(ran, write(tmp_path / "new.csv", ["boat"]), **options)
