"""Pictures of which copies were put in: smaller, cut at the edges, compressed, in other colours.

Data: `openmoji` (drawings with their names), `fashion` (photographs of garments, 28 x 28, named by their kind, so that
hundreds share a name). A copy keeps the name. A quarter of the copies each: at 40 to 80% of the size; 3 to 12% cut from
each edge; JPEG of quality 15 to 50; turned in hue by 30 degrees and more and tinted.

The baseline `hashes` is what curation groups: equal pixels, or perceptual hashes and colours that are close.

Metrics: `precision` of the pairs that are told, where pairs of originals that curation had grouped before count neither
way; `recall` of the pairs that were put in, of all and of each kind.

Options (`[options]` of the spec):
    items: at most so many originals of a data set (600).
    copies: how many copies (80).
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.data import curate
from tellapart.data.images import image_source, open_image
from tellapart.finding import find
from tellapart.protocol import _sets

KINDS = ("smaller", "cut", "compressed", "recoloured")


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "hashes":
        raise DataError(f"copies are compared with hashes, not with {spec['baseline']}")
    options, rng = spec["options"], np.random.default_rng(np.random.SeedSequence([seed, 3]))
    pictures, names = originals(data)
    rows = rng.permutation(len(names))[: options.get("items", 600)]
    count = options.get("copies", 80)
    made = [png(pictures[row]) for row in rows]
    before = curate(Collection.of({"image": made, "text": [names[row] for row in rows]})).codes("group")[0]
    made += [png(changed(pictures[rows[i]], KINDS[i % 4], rng)) for i in range(count)]
    said = [names[row] for row in [*rows, *rows[:count]]]
    collection = curate(Collection.of({"id": [str(i) for i in range(len(said))], "image": made, "text": said}))
    group, n = collection.codes("group")[0], len(rows)
    told = {(int(np.flatnonzero(group == g)[0]), i) for i, g in enumerate(group.tolist())}
    pairs = ({(a, b) for a, b in told if a != b}, found_pairs(find(collection, [spec["part"]], seed=seed)))
    true = {(i, n + i) for i in range(count)}
    figures = {}
    for name, wanted in {"precision": None, **{f"recall, {kind}": kind for kind in KINDS}, "recall": ""}.items():
        both = []
        for each in pairs:
            counted = {(a, b) for a, b in each if b >= n or before[a] != before[b]}
            part = true if not wanted else {(a, b) for a, b in true if KINDS[a % 4] == wanted}
            both.append(len(counted & part) / max(1, len(counted if name == "precision" else part)))
        figures[name] = (both[0], both[1])
    return figures


def found_pairs(found: Findings) -> set[tuple[int, int]]:
    """Each proposal as (earlier, later) row."""
    rows = [(int(str(row["to"])), int(str(row["item"]))) for row in found.proposed().rows()]
    return {(min(pair), max(pair)) for pair in rows}


def changed(picture: Image.Image, how: str, rng: np.random.Generator) -> Image.Image:
    """A copy of a picture."""
    width, height = picture.size
    if how == "smaller":
        share = rng.uniform(0.4, 0.8)
        return picture.resize((max(8, int(width * share)), max(8, int(height * share))), Image.Resampling.BICUBIC)
    if how == "cut":
        a, b, c, d = rng.uniform(0.03, 0.12, 4)
        return picture.crop((round(a * width), round(b * height), round((1 - c) * width), round((1 - d) * height)))
    if how == "compressed":
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=int(rng.integers(15, 50)))
        return Image.open(held).convert("RGB")
    hsv = np.array(picture.convert("HSV")).astype(int)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(22, 234))) % 256
    turned = np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))
    return Image.fromarray((turned * rng.uniform(0.6, 1, 3)).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """A picture as a file."""
    held = io.BytesIO()
    picture.save(held, "PNG")
    return held.getvalue()


@functools.cache
def originals(data: str) -> tuple[list[Image.Image], list[str]]:
    """Pictures and what they are called."""
    if data not in ("openmoji", "fashion"):
        raise DataError(f"copies are judged on openmoji and fashion, not on {data!r}")
    found = _sets.shipped(data)
    column = "text" if data == "openmoji" else "label"
    rows = np.random.default_rng(0).permutation(len(found))[:4000]
    pictures = [open_image(image_source(found.values("image")[row], found.root)) for row in rows]
    return pictures, [str(found.values(column)[row]) for row in rows]
