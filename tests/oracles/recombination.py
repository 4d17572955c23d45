"""Discs of which four encoders see one thing each: the ground, the middle, the area, or the colour of the disc."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Picture, Text

CASES: list[dict] = [{}, {"items": 42, "grounds": "colours", "pool": 100}]
N, SIDE = 44, 40
ARMS = ("another ground", "off the centre", "smaller", "larger")
HURT = {"ground": {"another ground"}, "middle": {"off the centre"}, "area": {"smaller", "larger"}, "colour": set()}


def pictures():
    """Class 0: a small red disc on dull green; class 1: a larger blue one on light green; all in the middle."""
    rng, made = np.random.default_rng(0), []
    for i in range(N):
        r, green = (5, 9)[i % 2] + int(rng.integers(0, 2)), (170, 240)[i % 2] + int(rng.integers(-5, 6))
        image = Image.new("RGB", (SIDE, SIDE), (220, green, 220))
        ink = ((230, 20, 20), (20, 20, 230))[i % 2]
        ImageDraw.Draw(image).ellipse((SIDE // 2 - r, SIDE // 2 - r, SIDE // 2 + r, SIDE // 2 + r), fill=ink)
        made.append(image)
    return made


def seen(what):
    def encode(items):
        found = []
        for image in items:
            x = np.asarray(image.convert("RGB"), float) / 255
            corner, middle = x[[0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=0), x[18:22, 18:22].mean(axis=(0, 1))
            red, blue = ((x[..., a] > 0.7) & (x[..., b] < 0.3) & (x[..., 1] < 0.3) for a, b in ((0, 2), (2, 0)))
            size = (red | blue).mean()
            found.append({
                "ground": [corner[1], 0.5], "middle": [middle[0], middle[2]], "area": [size, 0.15],
                "colour": [float(red.any()), float(blue.any())],
            }[what])  # fmt: skip
        return np.array(found)

    return encode


def check(build, options):
    given = pictures()
    labels = {"id": [f"p{i:02d}" for i in range(N)], "label": [("red", "blue")[i % 2] for i in range(N)]}
    collection, colours = Collection.of(labels), options.get("grounds") == "colours"
    for what in ("ground", "middle") if colours else HURT:
        hurt = HURT[what]
        encode = seen(what)
        vectors = {"image": encode(given), "pictures": given, "image-encoder": encode}
        report = build(**options)(vectors, collection, seed=2)
        found = {f.figure.name.removeprefix("drop "): f for f in report.findings()}
        assert tuple(found) == ARMS and report.facts["items"] == min(N, options.get("items", 96))
        assert report.figure("right as they are").value == 1.0
        for name, one in found.items():
            assert one.figure.value == pytest.approx(np.mean(one.values))
            assert (one.p < 1e-3) == (name in hurt), (what, name, one.figure.value)
            if name in hurt or not (name == "another ground" and colours):
                assert bool(one.examples) == (name in hurt) and (one.figure.value > 0.2) == (name in hurt)
        robust = report.figure("background robustness").value
        if what == "ground":
            # each stands before a ground of the other class, or before one of any brightness
            assert 0.2 < robust < 0.8 if colours else robust == 0
        else:
            assert robust == 1.0
        biased = report.figure("centre bias").value
        assert biased > 0.3 if what == "middle" else biased == 0 or what == "area"
        assert any(isinstance(b, Picture) for b in report.blocks) == bool(hurt)
    check_cut(build, options, collection)
    with pytest.raises(DataError, match="as many vectors and pictures"):
        build()({"image": np.ones((N, 2)), "pictures": given}, collection, seed=0)


class Veiled(list):
    """Photographs of noise, of which something else says what is opaque."""

    def opacity(self, row):
        veil = Image.new("L", (SIDE, SIDE), 0)
        veil.paste(255, (8, 8, 26, 30))
        return veil


def check_cut(build, options, collection):
    """Photographs are not cut without transparency, and with it; grounds that are alike are not asked about."""
    rng, encode = np.random.default_rng(1), seen("middle")
    noise = [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)) for _ in range(N)]
    for held, cut in ((noise, False), (Veiled(noise), True)):
        report = build(**options)(
            {"image": encode(noise), "pictures": held, "image-encoder": encode}, collection, seed=0
        )
        said = " ".join(b.text for b in report.blocks if isinstance(b, Text))
        assert ("rim of one colour, 40 are needed" in said) != cut and bool(report.findings()) == cut
    white = [Image.composite(p, Image.new("RGB", p.size, "white"), p.getchannel("G").point(lambda v: 255 * (v < 99)))
             for p in pictures()]  # fmt: skip
    report = build(**options)({"image": encode(white), "pictures": white, "image-encoder": encode}, collection, seed=0)
    told = any("the grounds of 0 of" in b.text for b in report.blocks if isinstance(b, Text))
    assert told == ("grounds" not in options)
