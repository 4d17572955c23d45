"""Items with two pictures are audited as pairs of pictures, by column names alone."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.auditing import examined
from tellapart.before_after import beside, two_items
from tellapart.core.collection import Collection
from tellapart.render import html

COLUMNS = {
    "id": ["a", "b", "c", "d", "e"],
    "other_image": ["1.png", "2.png", None, "1.png", "5.png"],
    "image": ["6.png", "7.png", "8.png", "9.png", "10.png"],
    "group": [0, 1, 2, 3, 1],
}


def test_each_item_with_both_pictures_is_two_and_what_shares_one_is_of_one_group(tmp_path):
    held = Collection.of(COLUMNS, root=tmp_path)
    two = two_items(held, "pair")
    assert two.ids.tolist() == ["a (before)", "a", "b (before)", "b", "d (before)", "d", "e (before)", "e"]
    assert two.values("image") == ["1.png", "6.png", "2.png", "7.png", "1.png", "9.png", "5.png", "10.png"]
    assert two.values("pair") == ["a", "a", "b", "b", "d", "d", "e", "e"] and two.root == tmp_path
    assert two.values("group") == [0, 0, 1, 1, 0, 0, 1, 1]
    shown = beside(held, two)
    assert shown.item("d (before)")["image"] == "1.png" and shown.item("d")["image"] == "9.png"
    assert len(shown) == 9 and shown.columns == held.columns and shown.root == tmp_path


def test_pairs_that_the_collection_names_are_left_as_they_are():
    assert two_items(Collection.of(COLUMNS | {"pair": list("xxyyz")}), "pair") is None
    assert two_items(Collection.of({"image": ["1.png"]}), "pair") is None


@pytest.mark.parametrize("names", [("other_image", "image"), ("before_image", "after_image")])
def test_a_table_with_two_columns_of_pictures_is_audited_for_what_changed(tmp_path, names):
    rng, rows = np.random.default_rng(0), []
    for n in range(24):
        before = Image.new("RGB", (64, 64), tuple(int(v) for v in rng.integers(190, 256, 3)))
        ImageDraw.Draw(before).rectangle((6, 6, 22, 22), fill=tuple(int(v) for v in rng.integers(0, 120, 3)))
        after = before.copy()
        if n % 2:
            ImageDraw.Draw(after).ellipse((40, 38, 56, 54), fill=(20, 20, 160))
        before.save(tmp_path / f"{n}a.png")
        after.save(tmp_path / f"{n}b.png")
        rows.append((f"p{n:02d}", f"{n}a.png", f"{n}b.png"))
    with (tmp_path / "pairs.csv").open("w", newline="") as sink:
        csv.writer(sink).writerows([("id", *names), *rows])
    report, shown = examined(
        "colour-histogram", tmp_path / "pairs.csv", parts=["image-differences(scenes=140, ground='plain')"], other="",
        against="", gate=None, seed=0, columns=None, stages=None,
    )  # fmt: skip
    assert report.figure("pairs").value == 24
    (finding,) = report.findings()
    assert finding.p < 0.01
    table = next(b for b in report.blocks if getattr(b, "title", "").startswith("Pairs that differ"))
    called = {row[1] for row in table.rows}
    assert {f"p{n:02d}" for n in range(1, 24, 2)} <= called and len(called) <= 14
    assert all(row[0] == f"{row[1]} (before)" for row in table.rows)
    page = html(report, shown)
    assert page.count("data:image") >= 2 * len(finding.examples)
