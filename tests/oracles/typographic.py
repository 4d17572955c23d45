"""Tiles of one colour a name, and encoders that read what is on them, do not look at it, or are merely disturbed."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Picture

CASES: list[dict] = [{}, {"own": True, "items": 40, "wide": 0.9, "by": "kind", "ask": "a {name}"}]
NAMES = ["lemon", "boat", "anchor", "violin", "candle", "rabbit", "ladder", "pencil", "bottle", "window"]
COLOURS = [(30 + 20 * n, 200 - 15 * n, 90 + 11 * (n % 3)) for n in range(len(NAMES))]
N = 90


def ink(picture: Image.Image) -> np.ndarray:
    """What is black, cut to its edges and brought to one size."""
    dark = np.asarray(picture.convert("L")) < 20
    down, across = (np.flatnonzero(dark.any(axis=axis)) for axis in (1, 0))
    cut = Image.fromarray(dark[down[0] : down[-1] + 1, across[0] : across[-1] + 1].astype(np.uint8) * 255)
    return np.asarray(cut.resize((96, 24)), float) / 255


@functools.cache
def templates() -> np.ndarray:
    made = []
    for name in NAMES:
        page = Image.new("L", (400, 100), 255)
        ImageDraw.Draw(page).text((10, 10), name, fill=0, font=ImageFont.load_default(50))
        made.append(ink(page))
    return np.stack(made)


def nearest(picture: Image.Image) -> tuple[int, float]:
    """The name that what is black looks most like, and how far it is from it."""
    off = np.abs(templates() - ink(picture)).mean(axis=(1, 2))
    return int(off.argmin()), float(off.min())


def reads(picture: Image.Image) -> int:
    """The number of the name that is written; -1 where nothing is, or no name."""
    if not (np.asarray(picture.convert("L")) == 0).any():
        return -1
    name, off = nearest(picture)
    return name if off < 0.108 else -1


def shows(picture: Image.Image) -> int:
    corner = [picture.getpixel((x, y)) for x in (1, picture.width - 2) for y in (1, picture.height - 2)]
    ground = next(c for c in corner if c in COLOURS)
    return COLOURS.index(ground)


def answer(picture: Image.Image, how: str, written: int) -> int:
    if how == "reads" and written >= 0:
        return written
    if how == "disturbed" and (black := int((np.asarray(picture.convert("L")) == 0).sum())):
        return black % len(NAMES)
    return shows(picture)


def check(build, options: dict) -> None:
    side = 200 if options else 40
    kind = [NAMES[i % len(NAMES)] for i in range(N)]
    tiles = [Image.new("RGB", (side, side), COLOURS[i % len(NAMES)]) for i in range(N)]
    held = Collection.of({"id": [f"t{i:02d}" for i in range(N)], options.get("by", "label"): kind})
    p, times = {}, 3 if options.get("own") else 2
    for how, by_texts in (("reads", True), ("reads", False), ("looks away", True), ("disturbed", True))[
        bool(options) :
    ]:
        seen: list[tuple[Image.Image, int, int]] = []

        def encode(pictures, how=how, seen=seen):
            for picture in pictures:
                written = reads(picture)
                seen.append((picture, written, answer(picture, how, written)))
            return np.eye(len(NAMES))[[answered for *_, answered in seen[-len(pictures) :]]] + 0.01

        def texts(asked):
            form = options.get("ask", "{name}")
            return np.eye(len(NAMES))[[next(i for i, n in enumerate(NAMES) if form.format(name=n) == t) for t in asked]]

        vectors = {"image": encode(tiles), "pictures": tiles, "image-encoder": encode}
        vectors |= {"text-encoder": texts} if by_texts else {}
        seen.clear()
        report = build(**options)(vectors, held, seed=4)
        (one,) = report.findings()
        n = len(one.ids)
        assert n == options.get("items", 60) == len(set(one.ids)) and len(seen) == n * times
        # loops: what is on each picture, and what was answered
        expected, right = [], 0
        for i, id_ in enumerate(one.ids):
            (word, b, answered), (letters, none, disturbed) = seen[i * times : i * times + 2]
            own = shows(tiles[int(id_[1:])])
            assert b >= 0 and b != own and none == -1
            assert min(word.size) >= 160 and word.size == letters.size
            white = [(np.asarray(one_of.convert("L")) == 255).any(axis=0).sum() for one_of in (word, letters)]
            assert white[0] == white[1] and white[0] <= options.get("wide", 0.7) * word.width + 1
            expected.append((answered == b) - (disturbed == b))
            right += disturbed == own
            assert times == 2 or nearest(seen[i * times + 2][0])[0] == own
        assert list(one.values) == expected and one.better == "lower"
        assert abs(report.figure("right, letters shuffled").value - right / n) < 1e-9
        p[how] = one.p
        assert {"reads": one.figure.value == 1, "looks away": one.figure.value == 0}.get(how, True)
        assert bool(one.examples) == any(v > 0 for v in expected)
        assert next(b for b in report.blocks if isinstance(b, Picture)).svg.startswith("<svg")
    assert p["reads"] < 0.01 and p["looks away"] == 1 and p["disturbed"] > 0.02
    few = held.take(np.flatnonzero(np.arange(N) % len(NAMES) < 3))
    given = {"image": vectors["image"][: len(few)], "pictures": tiles[: len(few)], "image-encoder": encode}
    assert "cannot tell" in repr(build(**options)(given, few, seed=0).blocks)
    with pytest.raises(DataError, match="name"):
        build(**{**options, "ask": "what is it"})(vectors, held, seed=0)
    with pytest.raises(DataError, match="labels"):
        build()({**given}, Collection.of({"id": list(few.ids)}), seed=0)
