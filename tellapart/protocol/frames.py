"""Items of several frames, half of which have nothing to do with the caption, searched by the caption.

An item is four altered copies of one OpenMoji drawing (turned, mirrored, smaller, on a coloured ground, sometimes grey)
and four of another drawing of the same part of the split, in no order; its caption is the name of the first. Drawings
of test items are in no other part. Frames are encoded once, by the recipe's frozen encoder.

Data: `frames-half`; `frames-clean` without frames of another drawing.

Measured on test items, each recipe choosing among its options by the same figure on validation items; a strategy of the
trait `regions` scores by frames that the caption weighs (`core.pooling`), any other by the item's own vector, that of
the mean of its frozen frames:

- `R@1`, `R@10`: share of captions whose item is first, or among ten; `R@1, against SPEC` for each control.
- `R@1, index of means`: the variant's towers, an item being the vector of the mean of its frames, as an index holds it.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: changes of the variant, with another `strategy` each, that it is compared with too.
    items, batch_size, epochs, head: the budget, the same for all (480, 64, 20, "linear-head(dim=128)").
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.core.pooling import pool_by_query
from tellapart.data.attributes import phrases
from tellapart.data.images import image_source, open_image
from tellapart.data.shipped import openmoji
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.prepare import train_data
from tellapart.engine.regions import REGION, SAID, said_of_regions
from tellapart.protocol.composites import recall
from tellapart.protocol.regions import png
from tellapart.recipe import Recipe

DATA = {"frames-half": 4, "frames-clean": 0}
KNOWN = ("baseline", "variant", "controls", "items", "batch_size", "epochs", "head")
COPIES, SIDE = 4, 112
HELD = (0.625, 0.75)  # of the drawings: training up to here, validation up to there
FIRST, TEN, MEANS = "R@1", "R@10", "R@1, index of means"

Figures = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Drawings:
    """Drawings with their names: a collection with `text` and an `image`, the frozen vectors of the names [n, width],
    of the copies [n, 4, width], and of the phrases of each name."""

    collection: Collection
    text: np.ndarray
    copies: np.ndarray
    said: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one kind of items and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol frames has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol frames knows {', '.join(DATA)}, not {data!r}")
    made = drawings(options.get("items", 480))
    budget = {"batch_size": options.get("batch_size", 64), "epochs": options.get("epochs", 20)}
    budget["head"] = options.get("head", "linear-head(dim=128)")
    ours = chosen(made, DATA[data], budget | options["variant"], seed)
    other = chosen(made, DATA[data], budget | options["baseline"], seed)
    figures = {metric: (other[metric], ours[metric]) for metric in ours}
    for fields in options.get("controls", []):
        found = chosen(made, DATA[data], budget | options["variant"] | fields, seed)
        figures[f"{FIRST}, against {fields['strategy']}"] = (found[FIRST], ours[FIRST])
    return figures


def chosen(made: Drawings, others: int, fields: dict[str, Any], seed: int) -> dict[str, float]:
    """Each figure on the test part of the recipe that has the best on the validation part."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    tried = [measured(made, others, recipe, seed) for recipe in recipes]
    return {metric: max((t[metric] for t in tried), key=lambda figures: figures[0])[1] for metric in tried[0]}


@functools.cache
def drawings(count: int) -> Drawings:
    """So many drawings of one code point with a name of at most three words, each of its own."""
    every, cache = openmoji(), cache_folder(None, "evidence-vectors")
    rows, seen = [], set[str]()
    for row, (code, text) in enumerate(zip(every.ids, every.values("text"), strict=True)):
        if "-" not in code and len(text.split()) <= 3 and text not in seen:
            seen.add(text)
            rows.append(row)
    rows = np.random.default_rng(5).permutation(rows)[:count].tolist()
    pictures = [altered(every, row, copy) for row in rows for copy in range(COPIES)]
    x = np.array(embed(Collection.of({"image": pictures}), "image", make("encode", Recipe().image), cache=cache))
    made = Collection.of({"image": pictures[::COPIES], "text": [every.values("text")[row] for row in rows]})
    words, text = phrases(made), make("encode", Recipe().text)
    distinct = list(dict.fromkeys(word for row in words for word in row))
    vectors = embed(Collection.of({"text": distinct}), "text", text, cache=cache)
    vector, said = dict(zip(distinct, np.array(vectors), strict=True)), np.empty(len(rows), dtype=object)
    said[:] = [[(word, vector[word]) for word in row] for row in words]
    return Drawings(made, np.array(embed(made, "text", text, cache=cache)), x.reshape(len(rows), COPIES, -1), said)


def altered(every: Collection, row: int, copy: int) -> bytes:
    """One of the copies of a drawing, the same every time."""
    rng = np.random.default_rng([row, copy])
    icon = open_image(image_source(every["image"][row].as_py(), every.root))
    if rng.random() < 0.5:
        icon = ImageOps.mirror(icon)
    if rng.random() < 0.3:
        icon = ImageOps.grayscale(icon).convert("RGB")
    side = int(rng.uniform(0.6, 1.0) * SIDE)
    ground = tuple(rng.integers(140, 256, 3).tolist())
    icon = icon.rotate(float(rng.uniform(-30, 30)), fillcolor="white").resize((side, side))
    whole = Image.new("RGB", (SIDE, SIDE), ground)
    whole.paste(icon, tuple(rng.integers(0, SIDE - side + 1, 2).tolist()))
    return png(whole)


def items(made: Drawings, rows: np.ndarray, others: int, seed: int) -> np.ndarray:
    """[n, frames, width]: of each drawing all copies, and so many of another one of these, shuffled."""
    rng, found = np.random.default_rng([seed, 3]), []
    for place, row in enumerate(rows):
        other = rows[(place + 1 + rng.integers(len(rows) - 1)) % len(rows)]
        frames = np.concatenate([made.copies[row], made.copies[other][:others]])
        found.append(frames[rng.permutation(len(frames))])
    return np.stack(found)


def measured(made: Drawings, others: int, recipe: Recipe, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (on validation, on test)} of a recipe."""
    n = len(made.text)
    train, *held = np.split(np.random.default_rng(seed).permutation(n), [int(n * share) for share in HELD])
    frames = items(made, train, others, seed)
    vectors = {"query": made.text[train], "document": frames.mean(1)}
    if said_of_regions(recipe):
        region = np.empty(len(train), dtype=object)
        region[:] = list(frames)
        vectors |= {REGION: region, SAID: made.said[train]}
    fitted = fit(recipe, train_data(made.collection.take(train), vectors, recipe), seed=seed)
    parts = [_figures(made.text[rows], items(made, rows, others, seed), fitted) for rows in held]
    return {name: (parts[0][name], parts[1][name]) for name in parts[0]}


def _figures(text: np.ndarray, frames: np.ndarray, fitted: Fitted) -> dict[str, float]:
    right = np.eye(len(text), dtype=bool)
    asked, held = fitted.encode("query", text), fitted.encode("document", frames.mean(1))
    means = scores = asked @ held.T
    temperature = getattr(fitted.strategy, "temperature", None) if said_of_regions(fitted.recipe) else None
    if temperature is not None:
        tokens = fitted.encode("document", frames.reshape(-1, frames.shape[2])).reshape(*frames.shape[:2], -1)
        scores = weighed(asked, tokens, temperature)
    return {
        FIRST: recall(scores, right, first=1),
        TEN: recall(scores, right, first=10),
        MEANS: recall(means, right, first=1),
    }


def weighed(asked: np.ndarray, tokens: np.ndarray, temperature: float) -> np.ndarray:
    """[q, n] cosines of [q, d] captions with the frames of [n, f, d] that each caption weighs."""
    t, v = torch.from_numpy(asked), torch.from_numpy(tokens)
    found = torch.nn.functional.normalize(pool_by_query(t, v, weighting="softmax", temperature=temperature), dim=2)
    return np.asarray(torch.einsum("qd,nqd->qn", t, found))
