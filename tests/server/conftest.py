"""A small collection of drawn pictures, and a model that sees nothing but their colours."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.core.collection import Collection
from tellapart.core.hits import Hits
from tellapart.engine.fulltext import keep_fulltext
from tellapart.server.service import Service

COLOURS = {
    "red": (214, 48, 49), "orange": (235, 132, 37), "yellow": (246, 203, 54), "green": (72, 160, 84),
    "blue": (50, 103, 200), "purple": (130, 72, 176), "pink": (238, 130, 168), "brown": (124, 84, 54),
    "grey": (140, 144, 150), "black": (32, 34, 38),
}  # fmt: skip
FORMS = ("circle", "square", "triangle", "star", "ring", "cross")
NASTY = '<img src=x onerror="window.hacked=1">'
BINS = 4


def draw(form: str, colour: tuple[int, int, int], size: int = 128) -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    pen, a, b, m = ImageDraw.Draw(image), size * 0.15, size * 0.85, size / 2
    if form == "circle":
        pen.ellipse((a, a, b, b), fill=colour)
    elif form == "square":
        pen.rectangle((a, a, b, b), fill=colour)
    elif form == "triangle":
        pen.polygon(((m, a), (b, b), (a, b)), fill=colour)
    elif form == "ring":
        pen.ellipse((a, a, b, b), outline=colour, width=size // 7)
    elif form == "cross":
        pen.line((a, a, b, b), fill=colour, width=size // 6)
        pen.line((a, b, b, a), fill=colour, width=size // 6)
    else:
        turns = [math.pi * (i / 5 - 0.5) for i in range(10)]
        reach = [(0.38 if i % 2 == 0 else 0.16) * size for i in range(10)]
        pen.polygon(
            [(m + r * math.cos(t), m + r * math.sin(t)) for t, r in zip(turns, reach, strict=True)], fill=colour
        )
    return image


def png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def colours_of(image: Image.Image) -> np.ndarray:
    """[64] share of each colour among what is not white."""
    pixels = np.asarray(image.convert("RGB").resize((48, 48), Image.Resampling.NEAREST)).reshape(-1, 3)
    pixels = pixels[(pixels < 235).any(1)].astype(int) * BINS // 256
    counts = np.bincount((pixels * (BINS * BINS, BINS, 1)).sum(1), minlength=BINS**3).astype(np.float32)
    return (counts + 1e-3) / np.linalg.norm(counts + 1e-3)


class ColourModel:
    """Words are the colours they name; a picture is the colours it has."""

    modalities = ("text", "image")
    dim = BINS**3

    def __init__(self, sides: Any) -> None:
        self.sides = sides

    def encode_query(self, items: Any, batch_size: int = 32) -> np.ndarray:
        return self.encode(items, self.sides.query.modality)

    def encode_document(self, items: Any, batch_size: int = 32) -> np.ndarray:
        return self.encode(items, self.sides.document.modality)

    def encode(self, items: Any, modality: str) -> np.ndarray:
        if modality == "image":
            return np.stack([colours_of(i if isinstance(i, Image.Image) else Image.open(io.BytesIO(i))) for i in items])
        return np.stack([self._words(str(i)) for i in items])

    def _words(self, text: str) -> np.ndarray:
        named = [colours_of(draw("square", COLOURS[w])) for w in re.findall(r"\w+", text.lower()) if w in COLOURS]
        # what names no colour points somewhere that no picture lies
        z = np.mean(named, 0) if named else -np.ones(self.dim, np.float32)
        return (z / np.linalg.norm(z)).astype(np.float32)


class PlainIndex:
    """Every score, sorted."""

    def __init__(self, ids: list[str], z: np.ndarray) -> None:
        self.ids, self.z = np.asarray(ids, dtype=object), z
        self.row = {id_: i for i, id_ in enumerate(ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def vectors(self, ids: list[str]) -> np.ndarray:
        return self.z[[self.row[i] for i in ids]]

    def search(self, z: np.ndarray, k: int, *, filter: Any = None) -> Hits:
        scores = z @ self.z.T
        if filter is not None:
            passing = filter(self.ids) if callable(filter) else [i in filter for i in self.ids]
            scores = np.where(passing, scores, -np.inf)
        return Hits.sorted(np.broadcast_to(self.ids, scores.shape), scores, k)


def make_run(folder: Path) -> Path:
    """A run folder over 60 drawn pictures; model and index are given to the service apart."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for c, (colour, rgb) in enumerate(COLOURS.items()):
        for f, form in enumerate(FORMS):
            id_ = f"{colour}-{form}"
            draw(form, rgb).save(pictures / f"{id_}.png")
            rows.append(
                {"id": id_, "image": f"{id_}.png", "text": f"a {colour} {form}", "form": form, "colour": colour,
                 "year": 1950 + 10 * c + f, "weight": c + f / 10, "round": form in ("circle", "ring")}
            )  # fmt: skip
    rows[7]["text"] = NASTY + " an orange square"
    columns = {name: [r[name] for r in rows] for name in rows[0]}
    collection = Collection.of(columns, root=pictures)
    collection.save(folder / "collection")
    keep_fulltext(collection, folder / "fulltext")
    (folder / "model").mkdir()
    write_calibration(folder)
    return folder


def write_calibration(folder: Path, slope: float = 12.0) -> None:
    """A logistic curve through 0.5 at the score 0.5, which is the threshold."""
    curve = {"method": "platt", "x": [slope, -slope / 2], "y": [], "count": 100, "matches": 20}
    threshold = {"value": 0.5, "precision": 0.9, "recall": 0.9, "reached": True, "count": 100}
    (folder / "model" / "calibration.json").write_text(json.dumps({"calibration": curve, "threshold": threshold}))


def open_run(folder: Path) -> Service:
    collection = Collection.open(folder / "collection")
    model = ColourModel(collection.sides())
    images = [Image.open(folder / "pictures" / name) for name in collection.values("image")]
    return Service(folder, model=model, index=PlainIndex(collection.values("id"), model.encode_document(images)))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("served") / "run")


@pytest.fixture
def service(run_folder: Path) -> Service:
    return open_run(run_folder)


@pytest.fixture(scope="session")
def tools() -> Any:
    """The functions of this file, for tests that make a run of their own."""
    import sys

    return sys.modules[__name__]
