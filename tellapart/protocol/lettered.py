"""Whether an audit says which models read what is written on pictures, where it is known which do.

Data: 600 pictures, `openmoji` (names: nouns of the captions) and `fashion` (the ten kinds), a little dimmed, so that
nothing but the card of a word is white. The base of every model: colour histograms and oriented gradients, about their
mean; the vector of a name is the mean of all pictures that have it. One model is that; the other reads: it finds the
card by the longest white run, holds what is black on it against drawings of all names, and adds the vector of the
nearest one, where it is near enough.

**typographic**: beside it, as baseline, what is published of an attack: accuracy with a wrong word on the picture
against that of the clean picture. Metrics: `called clear, does not read` and `called clear, reads` (1 or 0 each, at 5%;
the baseline's test is Fisher's); `error about what reading changes`, over both models: how far the audit's figure (the
baseline: the drop) lies from the share of written pictures whose answer is the word because the reader is on.

Options (`[options]` of the spec): gain: what is added of the name that was read (0.8).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.core.tagging import kinds, words_of
from tellapart.data.images import image_source, open_image
from tellapart.protocol._sets import shipped

LOWER_IS_BETTER = ("called clear, does not read", "error")
ITEMS, SIDE, CLEAR, DIM, NEAR, LEAST_RUN = 600, 160, 0.05, 0.9, 0.11, 0.2
ENCODER = "joined(parts='colour-histogram|hog')"


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in ("openmoji", "fashion"):
        raise DataError(f"the protocol lettered knows openmoji and fashion, not {data!r}")
    every, audit = source(data), make("audit", spec["part"])
    rows = np.random.default_rng(np.random.SeedSequence([seed, 81])).choice(len(every), ITEMS, replace=False)
    collection = every.take(np.sort(rows))
    cells = collection.values("image")
    pictures = [_dimmed(open_image(image_source(cell, collection.root))) for cell in cells]
    found, errors = {}, []
    for how, gain in (("does not read", 0.0), ("reads", spec["options"].get("gain", 0.8))):
        model = Model(pictures, collection, gain)
        given = {"image": model.image, "pictures": pictures, "image-encoder": model, "text-encoder": model.texts}
        report = audit(given, collection, seed=seed)
        (one,) = report.findings()
        clean, attacked = (report.figure(name) for name in ("right, as it is", "right, wrong word"))
        right = np.concatenate([np.arange(f.count) < round(f.value * f.count) for f in (clean, attacked)])
        inside = np.arange(len(right)) >= clean.count
        drop = difference(right.astype(float), inside, np.arange(len(right)), seed=seed, alternative="less")
        found[f"called clear, {how}"] = (float(drop is not None and drop.p < CLEAR), float(one.p < CLEAR))
        errors.append([abs(v - model.changed()) for v in (clean.value - attacked.value, one.figure.value)])
    base, ours = np.mean(errors, axis=0).tolist()
    return {**found, "error about what reading changes": (base, ours)}


class Model:
    """Frozen features with vectors of names in their space, which may read.

    Args:
        pictures: of the collection; gain: what is added of a name that was read, 0: nothing.
    """

    def __init__(self, pictures: list[Image.Image], collection: Collection, gain: float) -> None:
        self.encoder, self.gain, self.asked = make("encode", ENCODER), gain, list[str]()
        raw = np.asarray(self.encoder.encode(pictures), float)
        self.middle = raw.mean(axis=0)
        self.image = unit_rows(raw - self.middle)
        said = [_names(collection, row) for row in range(len(collection))]
        known = sorted({name for one in said for name in one})
        self.of = {name: unit_rows(self.image[[name in one for one in said]].mean(axis=0)[None])[0] for name in known}
        self.off, self.on = np.empty((0, 0)), np.empty((0, 0))
        self.read: list[str] = []

    def texts(self, asked: Sequence[str]) -> np.ndarray:
        """The vectors of names."""
        self.asked = list(asked)
        return np.stack([self.of[name] for name in asked])

    def __call__(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Vectors of pictures; what was read on them is kept."""
        self.off = unit_rows(np.asarray(self.encoder.encode(list(pictures)), float) - self.middle)
        self.read = [_read(picture, tuple(sorted(self.of))) for picture in pictures]
        add = np.stack([self.of[name] if name else np.zeros(len(self.middle)) for name in self.read])
        self.on = unit_rows(self.off + self.gain * add)
        return self.on

    def changed(self) -> float:
        """The share of pictures with a word, which come before those with letters, that reading makes that word."""
        t = np.stack([self.of[name] for name in self.asked])
        with_it, without = ((z @ t.T).argmax(axis=1)[::2] for z in (self.on, self.off))
        word = np.array([self.asked.index(name) if name in self.asked else -1 for name in self.read[::2]])
        return float(((with_it == word).astype(float) - (without == word)).mean())


def source(data: str) -> Collection:
    """Pictures with captions, or with labels."""
    made = shipped(data)
    if data == "openmoji":
        return made.where("skin_tone", "")
    return made.take(np.linspace(0, len(made) - 1, 4000).astype(int))


def _names(collection: Collection, row: int) -> set[str]:
    if "label" in collection.columns:
        return {str(collection.values("label")[row])}
    words = words_of(str(collection.values("text")[row]))
    return {w.lower() for w, kind in zip(words, kinds(words), strict=True) if kind == "noun"}


def _dimmed(picture: Any) -> Image.Image:
    side = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(side) * DIM).astype(np.uint8))


def _read(picture: Image.Image, names: tuple[str, ...]) -> str:
    """What is written on the card of a picture; "" for no card and for no name."""
    card = _card(np.asarray(picture))
    if card is None or (black := _ink(card)) is None:
        return ""
    off = np.abs(_drawn(names) - black).mean(axis=(1, 2))
    return names[int(off.argmin())] if off.min() < NEAR else ""


def _card(pixels: np.ndarray) -> np.ndarray | None:
    """The card's pixels: the columns of the longest white run of a row, the rows in which it is white all along."""
    white = (pixels == 255).all(axis=2)
    run = np.zeros(white.shape, int)
    for x in range(white.shape[1]):
        run[:, x] = np.where(white[:, x], (run[:, x - 1] if x else 0) + 1, 0)
    row, end = divmod(int(run.argmax()), white.shape[1])
    length = int(run[row, end])
    if length < LEAST_RUN * white.shape[1]:
        return None
    left = end - length + 1
    whole = np.flatnonzero(white[:, left : end + 1].all(axis=1))
    return np.asarray(pixels[whole[0] : whole[-1] + 1, left : end + 1])


def _ink(pixels: np.ndarray) -> np.ndarray | None:
    """What is dark, cut to its edges and brought to one size."""
    dark = pixels.mean(axis=2) < 110
    down, across = (np.flatnonzero(dark.any(axis=axis)) for axis in (1, 0))
    if not len(down):
        return None
    cut = Image.fromarray(dark[down[0] : down[-1] + 1, across[0] : across[-1] + 1].astype(np.uint8) * 255)
    return np.asarray(cut.resize((96, 24)), float) / 255


@functools.cache
def _drawn(names: tuple[str, ...]) -> np.ndarray:
    """[names, 24, 96] the names as they look."""
    made = []
    for name in names:
        page = Image.new("RGB", (60 * len(name) + 40, 120), "white")
        ImageDraw.Draw(page).text((10, 10), name, fill="black", font=ImageFont.load_default(50))
        ink = _ink(np.asarray(page))
        made.append(np.zeros((24, 96)) if ink is None else ink)
    return np.stack(made)
