"""One corruption a picture or none, each as often, at a level anywhere in its range; each is worked out in numpy."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tellapart.core.corruptions import REGISTRY, corruptions
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"source": "web"}, {"source": "scan", "but": "colour|jpeg", "clean": 0.4}]
SOURCES = {
    "web": {"jpeg", "palette", "rescaled", "watermark"},
    "scan": {"jpeg", "blur", "specks", "bright", "faded", "cast", "stain", "scratches"},
}


def picture():
    y, x = np.mgrid[:20, :24]
    return Image.fromarray(np.stack([8 * x, 9 * y, 120 + 3 * x - 2 * y], -1).astype(np.uint8))


def check(build, options):
    part, image = build(**options), picture()
    wanted = SOURCES.get(options.get("source"), set(REGISTRY)) - {"jpeg" if "but" in options else ""}
    wanted -= {"bright", "faded", "cast"} if "but" in options else set()
    assert {c.name for c in corruptions(options.get("source", "any"), options.get("but", ""))} == wanted
    names = [name for name in REGISTRY if name in wanted]
    drawn, draws = Counter(), 60 * (len(names) + 1)
    for seed in range(draws):
        made = part(image, rng=np.random.default_rng(seed))
        # Told by replaying the draws: which, whether it stays clean, and how much.
        rng = np.random.default_rng(seed)
        which = int(rng.integers(len(names) + 1))
        if which == len(names) or rng.random() < options.get("clean", 0.0):
            assert made.tobytes() == image.tobytes()
            drawn["none"] += 1
            continue
        drawn[names[which]] += 1
        ends = sorted((REGISTRY[names[which]].levels[0], REGISTRY[names[which]].levels[4]))
        level = rng.uniform(*ends)
        if (plain := PLAIN.get(names[which])) is not None:
            off = np.abs(np.asarray(made, float) - plain(np.asarray(image, float), level))
            assert off.max() <= 1.01, names[which]
    share = (1 - options.get("clean", 0.0)) / (len(names) + 1)
    for name in names:
        assert abs(drawn[name] - share * draws) < 4.5 * (share * draws) ** 0.5 + 1, name
    with pytest.raises(PartError, match="leave out fewer"):
        build(source="web", but="digital|dirt")(image, rng=np.random.default_rng(0))


def jpeg(x, quality):
    held = io.BytesIO()
    Image.fromarray(x.astype(np.uint8)).save(held, "JPEG", quality=round(quality))
    return np.asarray(Image.open(held), float)


PLAIN = {
    "jpeg": jpeg,
    "dark": lambda x, factor: np.floor(x * factor),
    "bright": lambda x, factor: np.minimum(np.floor(x * factor), 255),
    "faded": lambda x, share: (1 - share) * x + share * 214,
}
