"""Cues planted into pictures, and whether an audit says which: ground, colour, size, place, a mark.

Pictures have one of two classes, and a cue that agrees with the class in the share `strength` of them; every other cue
is dealt at random. `openmoji`: drawings, classes by the toss of a coin, so that the planted cue is all there is to
learn; `fashion`: photographs of two kinds of clothes that are alike (shirts and coats), in colours, so that there is
much else to learn and to go by; where nothing is planted, a coin says theirs too. The frozen features are colour
histograms and oriented gradients side by side.

**counteranimal**: the findings of the part, and as baseline the usual table of accuracy by value, without classes: for
each cue the largest difference between a value and the others, by its chance. Metrics, over cues and strengths:
`planted cue first` (the share in which it has the smallest p of all; ties are none), and `called found where nothing
is planted` (the share of collections in which something is, at 5% over all, corrected as in an audit).

Options (`[options]` of the spec):
    items: of a collection (600); strengths: [0.65]; cues: ["ground", "colour", "size"]; clean: how many (2).
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import Image

from tellapart.core.chance import difference, holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.outcomes import outcomes
from tellapart.core.parts import make
from tellapart.core.picture_cues import picture_cues
from tellapart.core.report import Finding
from tellapart.data.images import image_source, open_image
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("called found where nothing is planted",)
KNOWN = ("items", "strengths", "cues", "clean")
SIDE, CLEAR, GREY, SMALLEST = 96, 0.05, 235, 12
ENCODER = "joined(parts='colour-histogram|hog')"
FIRST, CALLED = "planted cue first", "called found where nothing is planted"
WORDS = ("sunny", "quiet", "early", "late", "north", "south", "open", "near", "plain", "fresh", "calm", "busy")
MARKS = ("ring", "cross")

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol planted_cues has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    items, strengths = options.get("items", 600), options.get("strengths", [0.65])
    first, called = [], []
    for cue in options.get("cues", ["ground", "colour", "size"]):
        for strength in strengths:
            sides = asked(spec["part"], planted(data, cue, strength, items, seed), seed)
            first.append([ranked(found) == cue for found in sides])
    for number in range(options.get("clean", 2)):
        sides = asked(spec["part"], planted(data, "", 0.5, items, 1000 * (number + 1) + seed), seed)
        called.append([bool((holm(list(found.values())) < CLEAR).any()) for found in sides])
    shares = {FIRST: np.mean(first, axis=0), CALLED: np.mean(called, axis=0)}
    return {name: (float(value[0]), float(value[1])) for name, value in shares.items()}


def asked(part: str, made: tuple[Collection, list[Image.Image]], seed: int) -> list[dict[str, float]]:
    """p by cue: of accuracy by value, and of the part."""
    collection, pictures = made
    x = np.asarray(make("encode", ENCODER).encode(pictures, batch_size=64))
    vectors = {"document": x, "pictures": pictures}
    report = make("audit", part)(vectors, collection, seed=seed)
    found = {f.figure.name.removeprefix("drop by "): f.p for f in report.findings() if isinstance(f, Finding)}
    said, plain = outcomes(vectors, collection, seed=seed), {}
    for cue in picture_cues(pictures, said.rows.tolist()):
        known = cue.codes >= 0
        tests = [difference(said.right[known], cue.codes[known] == v, np.flatnonzero(known), seed=seed)
                 for v in np.unique(cue.codes[known])]  # fmt: skip
        plain[cue.name] = min(1.0, sum(t is not None for t in tests) * min([t.p for t in tests if t], default=1.0))
    return [plain, found]


def ranked(p: dict[str, float]) -> str:
    """The cue of the smallest p; "" where two share it."""
    best = sorted(p, key=lambda name: p[name])
    return best[0] if len(best) == 1 or (best and p[best[0]] < p[best[1]]) else ""


def planted(data: str, cue: str, strength: float, items: int, seed: int) -> tuple[Collection, list[Image.Image]]:
    """A collection with one cue that agrees with the class in such a share, and its pictures.

    Cues: ground, colour, size, place, `word` (a mark on the picture that the caption names) and `group` (a mark that
    the column `source` names); "": none agrees. Columns: `image`, `label`, `text`, `source`.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 61]))
    base, kinds = bases(data)
    rows = rng.choice(len(base), items, replace=items > len(base))
    label = rng.integers(0, 2, items) if kinds is None or not cue else kinds[rows]
    value = {name: rng.integers(0, 2, items) for name in ("ground", "colour", "size", "place", "word", "group")}
    if cue:
        value[cue] = np.where(rng.random(items) < strength, label, 1 - label)
    value |= {"mark": value[cue]} if cue in ("word", "group") else {}
    pictures = [scene(base[row], {name: int(v[i]) for name, v in value.items()}, rng) for i, row in enumerate(rows)]
    said = [
        " ".join([*rng.choice(WORDS, 4, replace=False), *([MARKS[v]] if cue == "word" else [])]) for v in value["word"]
    ]
    columns: dict[str, list[Any]] = {
        "id": [f"p{i:05d}" for i in range(items)],
        "image": [_png(picture) for picture in pictures],
        "label": [f"kind {v}" for v in label],
        "text": said,
        "source": [f"source {v}" for v in (value["group"] if cue == "group" else rng.integers(0, 2, items))],
    }
    return Collection.of(columns), pictures


def scene(drawing: np.ndarray, value: dict[str, int], rng: np.random.Generator) -> Image.Image:
    """A drawing, RGBA cut to what is on it, as the values of the cues say, with some play in each."""
    side = SIDE * ((0.42, 0.62)[value["size"]] + rng.uniform(-0.05, 0.05)) / max(drawing.shape[:2])
    hue = (0, 128)[value["colour"]] + int(rng.integers(-12, 13))
    ground = np.array(((235, 205, 170), (170, 205, 235))[value["ground"]]) + rng.integers(-12, 13, 3)
    picture = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in ground))
    height, width = (max(4, round(side * n)) for n in drawing.shape[:2])
    small = Image.fromarray(drawing).resize((width, height), Image.Resampling.BOX)
    h, s, v = small.convert("RGB").convert("HSV").split()
    h = h.point([(hue + level // 6) % 256 for level in range(256)])
    tinted = Image.merge("HSV", (h, s.point([max(110, level) for level in range(256)]), v)).convert("RGB")
    x, y = SIDE * ((0.42, 0.58)[value["place"]] + rng.uniform(-0.03, 0.03)), SIDE * rng.uniform(0.46, 0.54)
    picture.paste(tinted, (round(x - width / 2), round(y - height / 2)), small.getchannel("A"))
    if "mark" in value:
        down, across = np.mgrid[-8:9, -8:9]
        ring = np.abs(np.hypot(across, down) - 6.5) < 2
        stamp = np.abs(np.abs(across) - np.abs(down)) < 3 if value["mark"] else ring
        picture.paste((40, 40, 40), (3, 3), Image.fromarray((stamp * 255).astype(np.uint8)))
    return picture


@functools.cache
def bases(data: str) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Drawings as RGBA, each cut to what is on it, and their kinds where they have one."""
    if data not in ("openmoji", "fashion"):
        raise DataError(f"the protocol planted_cues knows openmoji and fashion, not {data!r}")
    made, kinds = _sets.shipped(data), None
    if data == "openmoji":
        made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    else:
        labels = np.asarray(made.values("label"))
        made = made.take(np.concatenate([np.flatnonzero(labels == c)[:1500] for c in ("shirt", "coat")]))
        kinds = np.repeat([0, 1], 1500)
    pictures = [
        open_image(image_source(v, made.root)).convert("RGB").resize((SIDE, SIDE)) for v in made.values("image")
    ]
    cut = [_cut(np.asarray(p), dark=data == "fashion") for p in pictures]
    fit = np.array([min(c.shape[:2]) >= SMALLEST for c in cut])
    return [c for c, fits in zip(cut, fit, strict=True) if fits], None if kinds is None else kinds[fit]


def _cut(rgb: np.ndarray, *, dark: bool) -> np.ndarray:
    """What is not as the rim, white or black; the rest is transparent."""
    off = rgb.max(axis=2) > 255 - GREY if dark else rgb.min(axis=2) < GREY
    down, across = (np.flatnonzero(off.any(axis=axis)) for axis in (1, 0))
    return np.dstack([rgb, (off * 255).astype(np.uint8)])[down[0] : down[-1] + 1, across[0] : across[-1] + 1]


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()
