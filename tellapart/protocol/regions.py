"""Strategies that map what captions say to regions of pictures, on generated pictures whose truth is known.

A picture has 3 x 3 cells on black; in some of them stands a handwritten digit of scikit-learn in a colour and a size.
The caption is the list of all its digits, colours and sizes, each once, in random order; regions are the nine cells.
`scenes-3` has three digits a picture. Digits of training pictures are in no other part.

Three things are measured on test pictures, each recipe choosing among its options by the same figure on validation
pictures:

- `mapping F1`: attributes of a picture given to its cells by the rule best - epsilon, against the truth (over all
  pairs); scores are those of the part's mapping model (variant), cosines of the baseline's towers between a cell and
  the attribute, or none (each attribute to a random cell).
- `R-Precision, attribute to cell`: for each attribute the cells with it, among all cells of test pictures, by the
  towers; the share of right ones among the first as many as there are.
- `nDCG@10, caption to picture`: what the towers are usually trained for.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: changes of the variant, with another `strategy` each, that it is compared with too.
    epsilons: of the mapping rule, for both.
    pictures, batch_size, epochs, head: the budget, the same for all (1000, 64, 30, "linear-head(dim=128)").
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.data.regions import REGION_TYPE
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.prepare import features, train_data
from tellapart.engine.regions import MENTION, REGION, Mention, attribute_names
from tellapart.recipe import Recipe

IMAGE = "joined(parts='lite0|colour-histogram|hog')"
SIDE, CELLS, FOLDS = 28, 9, 10
HELD_FOLDS = (6, 8)
COLOURS = {"red": (255, 60, 60), "yellow": (250, 220, 60), "green": (60, 200, 80), "blue": (70, 110, 255),
           "purple": (190, 80, 220)}  # fmt: skip
SIZES = {"small": 12, "medium": 18, "large": 26}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ATTRIBUTES = (*NUMBERS, *COLOURS, *SIZES)

MAPPING, FINDING = "mapping F1", "R-Precision, attribute to cell"

Figures = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures with what is in their cells.

    Attributes:
        collection: `image` (bytes), `text`, `attributes`, `regions`, and `fold`, which digits were used.
        cell: [n, 9] number of the cell picture, of which the last is empty.
        truth: [n, 9, attributes] bool.
        cells: the cell pictures, a collection with `image`.
    """

    collection: Collection
    cell: np.ndarray
    truth: np.ndarray
    cells: Collection


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one number of digits a picture and one seed."""
    kind, _, count = data.partition("-")
    if kind != "scenes" or not count.isdigit() or not 1 <= int(count) <= CELLS:
        raise DataError(f"the protocol regions knows scenes-1 to scenes-{CELLS}, not {data!r}")
    options = spec["options"]
    made = scenes(int(count), options.get("pictures", 1000))
    budget = {"image": IMAGE, "batch_size": options.get("batch_size", 64), "epochs": options.get("epochs", 30)}
    budget["head"] = options.get("head", "linear-head(dim=128)")
    recipes = {"baseline": options["baseline"], "variant": options["variant"]}
    recipes |= {f" against {c['strategy']}": options["variant"] | c for c in options.get("controls", [])}
    found = {name: chosen(made, budget | fields, seed, options["epsilons"]) for name, fields in recipes.items()}
    ours = found.pop("variant")
    figures = {metric: (found["baseline"][metric], ours[metric]) for metric in ours}
    test = made.truth[parted(made, seed)["test"]]
    anywhere = np.random.default_rng(seed).random(test.shape)
    figures[f"{MAPPING} against a random cell"] = (mapping_f1(anywhere, test, 0.0), ours[MAPPING])
    del found["baseline"]
    return figures | {f"{FINDING}{name}": (other[FINDING], ours[FINDING]) for name, other in found.items()}


def chosen(made: Scenes, fields: dict[str, Any], seed: int, epsilons: Sequence[float]) -> dict[str, float]:
    """Each figure on the test part of the recipe that has the best on the validation part."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    tried = [measured(made, recipe, seed, epsilons) for recipe in recipes]
    return {metric: max((t[metric] for t in tried), key=lambda figures: figures[0])[1] for metric in tried[0]}


@functools.cache
def scenes(count: int, pictures: int) -> Scenes:
    """So many pictures with `count` digits each, a tenth of them of each fold of the digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    drawn = np.random.default_rng(7)
    looks = [(int(y), int(drawn.integers(len(COLOURS))), int(drawn.integers(len(SIZES)))) for y in digits.target]
    drawings = [drawing(x, *look[1:]) for x, look in zip(digits.images, looks, strict=True)]
    drawings.append(Image.new("RGB", (SIDE, SIDE)))
    empty = len(looks)
    holds = np.zeros((empty + 1, len(ATTRIBUTES)), dtype=bool)
    for row, (number, colour, size) in enumerate(looks):
        holds[row, [number, len(NUMBERS) + colour, len(NUMBERS) + len(COLOURS) + size]] = True
    cell = np.full((pictures, CELLS), empty)
    rows: dict[str, list[Any]] = {"id": [], "image": [], "text": [], "attributes": [], "regions": [], "fold": []}
    for n in range(pictures):
        rng = np.random.default_rng([count, n])
        mine = np.arange(n % FOLDS, empty, FOLDS)
        cell[n, rng.permutation(CELLS)[:count]] = rng.choice(mine, count, replace=False)
        whole = Image.new("RGB", (3 * SIDE, 3 * SIDE))
        boxes = [(SIDE * (i % 3), SIDE * (i // 3)) for i in range(CELLS)]
        for number, place in zip(cell[n], boxes, strict=True):
            whole.paste(drawings[number], place)
        said = [ATTRIBUTES[a] for a in rng.permutation(np.flatnonzero(holds[cell[n]].any(0)))]
        regions = [{"x": x, "y": y, "width": SIDE, "height": SIDE, "name": None} for x, y in boxes]
        values = [f"{n:05d}", png(whole), ". ".join(said), said, regions, n % FOLDS]
        for column, value in zip(rows.values(), values, strict=True):
            column.append(value)
    rows["regions"] = pa.array(rows["regions"], REGION_TYPE)
    cells = Collection.of({"image": [png(drawing_) for drawing_ in drawings]})
    return Scenes(Collection.of(rows), cell, holds[cell], cells)


def drawing(digit: np.ndarray, colour: int, size: int) -> Image.Image:
    """A cell: the digit in its colour and size, in the middle of black."""
    side = list(SIZES.values())[size]
    light = np.asarray(Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize((side, side))) / 255
    out = np.zeros((SIDE, SIDE, 3))
    start = (SIDE - side) // 2
    out[start : start + side, start : start + side] = light[..., None] * list(COLOURS.values())[colour]
    return Image.fromarray(out.astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """The bytes of a file."""
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def parted(made: Scenes, seed: int) -> dict[str, np.ndarray]:
    """Rows by part; the digits of one part are in no other."""
    folds = np.random.default_rng(seed).permutation(FOLDS)
    at = np.searchsorted(HELD_FOLDS, np.argsort(folds)[made.collection.numbers("fold")], side="right")
    return {name: np.flatnonzero(at == part) for part, name in enumerate(("train", "validation", "test"))}


@functools.lru_cache(maxsize=2)
def embedded(made: Scenes, image: str, text: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(vectors by side as `features` gives them, with regions and mentions; [attributes, width] those of attributes).

    A cell has the pixels of the crop of its picture, so each is embedded once and not in every picture again.
    """
    cache = cache_folder(None, "evidence-vectors")
    found = {
        name: np.array(x) for name, x in features(made.collection, Recipe(image=image, text=text), cache=cache).items()
    }
    cells = np.array(embed(made.cells, "image", make("encode", image), cache=cache))
    words = np.array(embed(Collection.of({"text": list(ATTRIBUTES)}), "text", make("encode", text), cache=cache))
    at = {name: word for name, word in zip(ATTRIBUTES, words, strict=True)}
    region, mention = (np.empty(len(made.cell), dtype=object) for _ in range(2))
    for row, said in enumerate(made.collection.values("attributes")):
        region[row] = cells[made.cell[row]]
        mention[row] = [Mention(a, a, at[a], at[a]) for a in said]
    return {**found, REGION: region, MENTION: mention}, words


def measured(made: Scenes, recipe: Recipe, seed: int, epsilons: Sequence[float]) -> dict[str, tuple[float, float]]:
    """{metric: (on validation, on test)} of a recipe."""
    vectors, words = embedded(made, recipe.image, recipe.text)
    rows = parted(made, seed)
    train, held = rows["train"], (rows["validation"], rows["test"])
    fitted = fit(
        recipe, train_data(made.collection.take(train), {k: x[train] for k, x in vectors.items()}, recipe), seed=seed
    )
    cells = [np.stack(list(vectors[REGION][r])).reshape(-1, vectors["document"].shape[1]) for r in held]
    shape = (-1, CELLS, len(ATTRIBUTES))
    q = fitted.encode("query", words)
    by_towers = [(fitted.encode("document", x) @ q.T).reshape(shape) for x in cells]
    mapped = by_towers
    if hasattr(fitted.strategy, "scores"):
        mapped = [np.full(s.shape, -1.0) for s in by_towers]
        at = [ATTRIBUTES.index(name) for name in attribute_names(vectors[MENTION][train])]
        for scores, x in zip(mapped, cells, strict=True):
            with torch.no_grad():
                scores[:, :, at] = fitted.strategy.scores(torch.from_numpy(x)).numpy().reshape(*scores.shape[:2], -1)
    truth = [made.truth[r] for r in held]
    epsilon = max(epsilons, key=lambda e: mapping_f1(mapped[0], truth[0], e))
    captions = [caption_to_picture(fitted, vectors, made.collection, r) for r in held]
    return {
        MAPPING: (mapping_f1(mapped[0], truth[0], epsilon), mapping_f1(mapped[1], truth[1], epsilon)),
        FINDING: (r_precision(by_towers[0], truth[0]), r_precision(by_towers[1], truth[1])),
        "nDCG@10, caption to picture": (captions[0], captions[1]),
    }


def mapping_f1(scores: np.ndarray, truth: np.ndarray, epsilon: float) -> float:
    """F1 over all (cell, attribute) pairs of giving each attribute of a picture to its cells near the best one.

    Args:
        scores, truth: [n, cells, attributes]; what no cell of a picture has is not in its caption.
    """
    given = (scores >= scores.max(1, keepdims=True) - epsilon) & truth.any(1, keepdims=True)
    return float(2 * (given & truth).sum() / max(given.sum() + truth.sum(), 1))


def r_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean over attributes of the share of right cells among the R best of all, R being how many are right."""
    scores, truth = (x.reshape(-1, x.shape[2]) for x in (scores, truth))
    found = []
    for s, right in zip(scores.T, truth.T, strict=True):
        if right.any():
            found.append(right[np.argsort(-s, kind="stable")[: right.sum()]].mean())
    return float(np.mean(found))


def caption_to_picture(fitted: Fitted, vectors: dict[str, np.ndarray], made: Collection, rows: np.ndarray) -> float:
    """nDCG@10 of the pictures of a caption; pictures with one set of attributes are all right."""
    target = np.unique(["|".join(sorted(said)) for said in made.take(rows).values("attributes")], return_inverse=True)[
        1
    ]
    q, k = (fitted.encode(side, vectors[side][rows]) for side in ("query", "document"))
    return float(np.nanmean(retrieval(q, k, Relevant.by_target(target, target))["nDCG@10"]))
