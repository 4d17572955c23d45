"""Plain tiles whose names and colours an encoder reads off: one binds them, one fills in, one guesses."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"attribute": "taste", "objects": "label", "ask": "a {attribute} {object}", "pairs": 40}]
TILES = {"red": lambda i: (210, 20 + i, 5), "green": lambda i: (30, 200, 5 + i), "blue": lambda i: (20, 30 + i, 220)}
TASTES = ("sweet", "sour", "bitter", "salty")


def check(build, options: dict) -> None:
    n = 60
    colour = [list(TILES)[i % 3] for i in range(n)]
    of = [TASTES[i % 4] for i in range(n)] if "attribute" in options else colour
    kinds = TASTES if "attribute" in options else tuple(TILES)
    tiles = [Image.new("RGB", (20, 20), TILES[c](i // 3)) for i, c in enumerate(colour)]
    tile_of = {tile.getpixel((3, 3)): i for i, tile in enumerate(tiles)}
    assert len(tile_of) == n
    called = options.get("objects", "text")
    columns = {"id": [f"t{i:02d}" for i in range(n)], called: [f"{colour[i]} thing{i}" for i in range(n)], "taste": of}
    collection = Collection.of(columns)
    seen: list[tuple[int, int]] = []

    def held(picture):
        if picture.size != (320, 320):
            return [tile_of[picture.getpixel((3, 3))]]
        pair = [tile_of[picture.getpixel((x, 160))] for x in (80, 240)]
        assert picture.getpixel((80, 10)) == picture.getpixel((240, 310)) == (255, 255, 255)
        seen.append(tuple(pair))
        return pair

    def images(how):
        def encode(pictures):
            z = np.zeros((len(pictures), n * len(kinds) + len(kinds)))
            for row, picture in enumerate(pictures):
                inside = held(picture)
                for i in inside:
                    z[row, i * len(kinds) + kinds.index(of[i])] += 1
                    z[row, n * len(kinds) + kinds.index(of[i])] += how == "fills in"
                if how == "guesses":
                    z[row] = 0
                    z[row, n * len(kinds) + sum(inside) % len(kinds)] = 1
            return z

        return encode

    def texts(how):
        def encode(asked):
            z = np.zeros((len(asked), n * len(kinds) + len(kinds)))
            for row, text in enumerate(asked):
                i, a = (
                    int(re.search(r"thing(\d+)", text).group(1)),
                    next(k for k in kinds if re.search(rf"\b{k}\b", text)),
                )
                assert colour[i] not in re.sub(rf"\b{a}\b", "", text)
                if how == "binds":
                    z[row, i * len(kinds) + kinds.index(a)] = 1
                else:
                    z[row, n * len(kinds) + kinds.index(a)] = -1 if how == "fills in" and a == of[i] else 1
            return z

        return encode

    for how in ("binds", "fills in", "guesses"):
        seen.clear()
        vectors = {
            "image": images(how)(tiles),
            "pictures": tiles,
            "image-encoder": images(how),
            "text-encoder": texts(how),
        }
        report = build(**options)(vectors, collection, seed=4)
        one = report.findings()[0]
        pairs = len(one.ids)
        assert pairs >= 30 and len(set(one.ids)) == pairs and len(seen) == pairs
        # loops: who stands beside whom, and what the encoder was made to answer
        other = 0
        for id_, (left, right) in zip(one.ids, seen, strict=True):
            a = int(id_[1:])
            assert a in (left, right)
            b = right if a == left else left
            assert of[a] != of[b]
            other += {"binds": 0, "fills in": 1, "guesses": kinds[(a + b) % len(kinds)] == of[b]}[how]
        assert abs(report.figure("the other's").value - other / pairs) < 1e-9
        third = report.figure("a third one's").value
        assert abs(one.figure.value - (other / pairs - third)) < 1e-9
        right = {"binds": 1.0, "fills in": 0.0}.get(how)
        assert right is None or report.figure("right, of two").value == right
        more, unlike = sum(v > 0 for v in one.values), sum(v != 0 for v in one.values)
        p = sum(math.comb(unlike, k) for k in range(more, unlike + 1)) / 2**unlike
        assert abs(one.p - p) < 1e-9
        assert (one.p < 1e-6) == (how == "fills in") and (how != "guesses" or one.p > 0.01)
    lefts = sum(pair[0] == int(id_[1:]) for pair, id_ in zip(seen, one.ids, strict=True))
    assert 0.2 < lefts / len(seen) < 0.8
    with pytest.raises(DataError, match="attribute"):
        build(ask="what is {object}")(vectors, collection, seed=0)
