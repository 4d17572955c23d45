"""Pairs of pictures of plain shapes, of which some lose or gain one at a known place, and others are moved only."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [
    {},
    {"pair": "shelf", "ground": "plain", "jitter": 1, "scenes": 70, "terms": "both", "ridge": 1.0, "pairs": 28},
]
PAIRS, SIDE = 32, 64


def drawn(ground, shapes, shift=(0, 0)):
    image = Image.new("RGB", (SIDE, SIDE), ground)
    for x, y, r, colour, round_ in shapes:
        box = (x - r + shift[0], y - r + shift[1], x + r + shift[0], y + r + shift[1])
        (ImageDraw.Draw(image).ellipse if round_ else ImageDraw.Draw(image).rectangle)(box, fill=colour)
    return image


def world(seed, share, column):
    """(pictures, collection, {first id: (kind, place)} of the pairs that truly differ)."""
    rng = np.random.default_rng(seed)
    inks = [(200, 30, 30), (20, 120, 40), (30, 50, 200), (90, 20, 120), (20, 20, 20)]
    pictures, values, truth = [], [], {}
    for n in range(PAIRS):
        ground = tuple(int(v) for v in rng.integers(190, 256, 3))
        places = rng.permutation([(14, 14), (48, 14), (14, 48), (48, 48)])
        shapes = [
            (int(x), int(y), int(rng.integers(6, 9)), inks[rng.integers(5)], rng.random() < 0.5) for x, y in places
        ]
        old, new = list(shapes[:3]), list(shapes[:3])
        if n < share * PAIRS:
            kind = ("added", "removed")[n % 2]
            (new if kind == "added" else old).append(shapes[3])
            truth[f"i{2 * n:03d}"] = kind, shapes[3][:2]
        pictures += [drawn(ground, old), drawn(ground, new, rng.integers(-1, 2, 2))]
        values += [f"shelf {n}"] * 2
    # Three pictures of no pair, and three of one value, are no pairs.
    for value in (None, "", "", "three", "three", "three"):
        pictures.append(drawn((255, 255, 255), shapes))
        values.append(value)
    return pictures, Collection.of({"id": [f"i{i:03d}" for i in range(len(values))], column: values}), truth


def fisher(a, b, n):
    """Chance of a or more of n against b of n, of as many in all."""
    ones, total = a + b, math.comb(2 * n, n)
    return sum(math.comb(ones, x) * math.comb(2 * n - ones, n - x) for x in range(a, min(ones, n) + 1)) / total


def check(build, options):
    column = options.get("pair", "pair")
    many = min(PAIRS, options.get("pairs", PAIRS))
    pictures, collection, truth = world(0, 0.5, column)
    report = build(**options)({"pictures": pictures}, collection, seed=1)
    assert report.figure("pairs").value == PAIRS
    assert report.facts["not in a pair of two"] == 3
    assert report.figure("kind named, own edits").count == options.get("scenes", 280) // 2
    assert report.figure("kind named, own edits").value > 2 / 7
    (finding,) = report.findings()
    called, of, copies = (int(v) for v in re.findall(r"(\d+) of (\d+) pairs.* pixels (\d+)\.", finding.said)[0])
    table = next(b for b in report.blocks if getattr(b, "title", "").startswith("Pairs that differ"))
    assert (called, of) == (len(table.rows), many)
    assert finding.figure.value == pytest.approx((called - copies) / many)
    assert finding.p == pytest.approx(fisher(called, copies, many))
    scores = [row[4] for row in table.rows]
    assert scores == sorted(scores, reverse=True)
    if options.get("terms") != "both":
        assert finding.p < 1e-3, "half of the pairs differ"
        mine = [row for row in table.rows if row[0] in truth]
        assert len(mine) >= 0.8 * len(truth)
        near = 0
        for first, second, _, where, _ in mine:
            assert int(second[1:]) == int(first[1:]) + 1
            across, down = (SIDE * float(v) / 100 for v in re.findall(r"(\d+)%", where))
            x, y = truth[first][1]
            near += abs(across - x) <= 13 and abs(down - y) <= 13
        assert near >= 0.7 * len(mine), "what changed is not where it is said to be"
        assert np.mean([row[2] == truth[row[0]][0] for row in mine]) > 0.5
        return
    pictures, collection, _ = world(2, 0.0, column)
    (clean,) = build(**options)({"pictures": pictures}, collection, seed=1).findings()
    assert clean.p > 0.01, "nothing has changed"
    assert clean.figure.low <= 0
    unpaired = build(**options)({"pictures": pictures}, Collection.of({"id": collection.ids.tolist()}), seed=1)
    assert any("cannot tell" in getattr(b, "text", "") for b in unpaired.blocks)
    with pytest.raises(DataError, match="as many pictures"):
        build(**options)({"pictures": pictures[:-1]}, collection, seed=1)
