"""Odd regions of pictures, on folders of pictures with a fault of known place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart import apply, locating
from tellapart.core.collection import Collection
from tellapart.core.errors import TellapartError
from tellapart.recipe import Recipe
from tellapart.render import html
from tellapart.run import run


def plate(rng, *, hole=False):
    """A grey cloud of 96 x 64; the hole lies in the lower right corner."""
    cloud = rng.integers(90, 160, (5, 7, 1), dtype=np.uint8).repeat(3, axis=2)
    picture = Image.fromarray(cloud).resize((96, 64), Image.Resampling.BICUBIC)
    if hole:
        ImageDraw.Draw(picture).ellipse([70, 40, 90, 60], fill=(230, 20, 20))
    return picture


def write(folder, names, **how):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in names:
        plate(rng, **how).save(folder / f"{name}.png")
    return folder


def test_the_odd_region_is_named_and_framed(tmp_path):
    words = ("red", "old", "small", "wide", "plain", "worn", "light", "new")
    known = write(tmp_path / "known", [f"{a} {b} plate" for a in words for b in words if a != b][:40])
    run(known, out=tmp_path / "r", recipe=Recipe.of({"epochs": 1, "batch_size": 16}))
    new = write(tmp_path / "new", ["hole & one", "hole two"], hole=True)
    out = tmp_path / "o.jsonl"
    report = apply.detect(tmp_path / "r", new, score="anovl(anchors=10, steps=1)", false_alarms=0.25, out=out)
    for line in out.read_text().splitlines():
        row = json.loads(line)
        x, y, w, h = map(int, row["box"].split())
        assert row["unknown"] and x <= 80 < x + w and y <= 50 < y + h and w * h < 0.5 * 96 * 64
    assert report.figure("unknown share").value == 1
    assert "data:image/svg+xml;base64" in html(report)
    (drawing,) = [b.svg for b in report.blocks if hasattr(b, "svg")]
    assert drawing.count("<image") == 2 and "hole &amp; one" in drawing and "hole & one" not in drawing


def test_runs_of_texts_are_refused(tmp_path):
    rows = "\n".join(f"question {i} of {i % 7},answer {i} to {i % 5}" for i in range(40))
    (tmp_path / "p.csv").write_text(f"anchor,positive\n{rows}\n")
    run(tmp_path / "p.csv", out=tmp_path / "r", recipe=Recipe.of({"epochs": 1, "batch_size": 16}))
    with pytest.raises(TellapartError, match="odd regions of pictures"):
        apply.detect(tmp_path / "r", tmp_path / "p.csv", score="anovl")


def test_the_region_is_the_piece_around_the_largest_place():
    places = np.zeros((4, 4))
    places[0, 0] = places[3, 2] = 0.6
    places[2, 3] = 0.9
    assert locating.region(places, 0.5, (40, 20)) == [20, 10, 20, 10]
    assert locating.region(places, 0.7, (41, 20)) == [30, 10, 11, 5]
    assert locating.region(places, 0.5, (2, 2)) == [1, 1, 1, 1]


def test_ids_are_words_in_the_drawing(tmp_path):
    made = Collection.of({"id": ["<b>"], "image": [str(write(tmp_path / "one", ["a"]) / "a.png")]})
    assert "&lt;b&gt;" in locating.drawn(made, "image", [0], [[0, 0, 9, 9]], [(96, 64)])
