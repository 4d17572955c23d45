"""Whether asked about one of two things a model answers with the colour of the other, after training on single things.

Data, pictures of one thing with captions such as "a yellow lemon":
    openmoji: 300 OpenMoji drawings that have a colour, in their own; shapes: six drawn shapes, each always in one
        colour: the thing tells its colour (a strong association).
    openmoji-recoloured, shapes-recoloured: the same with hues turned at random and colours drawn: it does not.

Heads on EfficientNet-Lite0 and MiniLM are trained on the single things (`two-tower`). The audit puts two side by side
and asks for the colour of one. Metrics: `named though absent, and though of the other`: how often the answer is the
colour of a thing that is not there (baseline) and of the other thing (variant), both drawn alike; `right, of two and
alone`.

Options: pairs (80) pictures put together; epochs (10).
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.hues import colour_of, turned_hue
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.images import image_source, open_image
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol._sets import shipped
from tellapart.protocol.regions import png
from tellapart.protocol.wrong_captions import COLOURS, SHAPES, drawn
from tellapart.recipe import Recipe

KINDS = ("openmoji", "shapes", "openmoji-recoloured", "shapes-recoloured")
ITEMS, SIDE, ASK = 300, 160, "a {attribute} {object}"


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in KINDS:
        raise DataError(f"the protocol associations knows {', '.join(KINDS)}, not {data!r}")
    options, made, pictures = spec["options"], *things(data)
    cache = cache_folder(None, "evidence-vectors")
    lite0, minilm = make("encode", "lite0"), make("encode", "minilm")
    image, text = (np.array(embed(made, *side, cache=cache)) for side in (("image", lite0), ("caption", minilm)))
    caption = torch.from_numpy(made.codes("caption")[0])
    keys = Keys(torch.arange(len(made)), torch.arange(len(made)), caption)
    recipe = Recipe.of({
        "strategy": "two-tower", "objective": "infonce(temperature=0.05)", "head": "linear-head(dim=64)",
        "epochs": options.get("epochs", 10), "batch_size": 64,
    })  # fmt: skip
    fitted = fit(recipe, TrainData(Features(text), Features(image), keys), seed=seed)

    def encoded(texts: list[str]) -> np.ndarray:
        return fitted.encode("query", np.array(embed(Collection.of({"text": texts}), "text", minilm, cache=cache)))

    vectors = {
        "image": fitted.encode("document", image),
        "pictures": pictures,
        "image-encoder": lambda some: fitted.encode("document", np.asarray(lite0.encode(list(some)))),
        "text-encoder": encoded,
    }
    audit = make("audit", spec["part"], attribute="color", ask=ASK, pairs=options.get("pairs", 80))
    told = audit(vectors, made, seed=seed).figure
    return {
        "named though absent, and though of the other": (told("a third one's").value, told("the other's").value),
        "right, of two and alone": (told("right, of two").value, told("right, alone").value),
    }


@functools.cache
def things(data: str) -> tuple[Collection, list[Any]]:
    """Pictures of single things, as a collection and opened."""
    found = _shapes(data) if data.startswith("shapes") else _drawings(data)
    names, colours, pictures = zip(*found, strict=True)
    columns = {
        "id": [f"{n:04d}" for n in range(len(names))], "text": names, "color": colours,
        "caption": [ASK.format(attribute=c, object=n) for n, c in zip(names, colours, strict=True)],
        "image": [png(picture) for picture in pictures],
    }  # fmt: skip
    return Collection.of({name: list(values) for name, values in columns.items()}), list(pictures)


def _drawings(data: str) -> list[tuple[str, str, Any]]:
    made = shipped("openmoji").where("skin_tone", "")
    texts, cells = made.values("text"), made["image"]
    found: list[tuple[str, str, Any]] = []
    for row in np.random.default_rng(5).permutation(len(made)).tolist():
        if len(found) == ITEMS:
            break
        rng = np.random.default_rng([5, row])
        if len(texts[row].split()) > 3 or set(texts[row].split()) & {*COLOURS, "flag", "orange", "purple", "brown"}:
            continue
        picture = open_image(image_source(cells[row].as_py(), made.root)).convert("RGB").resize((SIDE, SIDE))
        if data.endswith("recoloured"):
            picture = turned_hue(picture, float(rng.uniform(0, 360)))
        if colour := colour_of(picture):
            found.append((texts[row], colour, picture))
    return found


def _shapes(data: str) -> list[tuple[str, str, Any]]:
    found, colours = [], list(COLOURS)
    for n in range(ITEMS):
        rng = np.random.default_rng([6, n])
        shape = n % len(SHAPES)
        colour = colours[int(rng.integers(len(colours))) if data.endswith("recoloured") else shape]
        tile = Image.open(io.BytesIO(drawn((colour, SHAPES[shape])))).convert("RGB").crop((0, 48, 96, 144))
        side = int(rng.integers(80, SIDE))
        whole = Image.new("RGB", (SIDE, SIDE), "white")
        left, top = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
        whole.paste(tile.resize((side, side)), (left, top))
        found.append((SHAPES[shape], colour, whole))
    return found
