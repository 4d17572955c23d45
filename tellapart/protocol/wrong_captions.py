"""Strategies that learn from captions which do not describe their picture, and what that costs elsewhere.

Data:
    openmoji: drawings without skin tone and their names. Where another name differs from an item's in one word, up to
        three wrong captions put such words in its place ("woman artist" for "man artist"); the others have none, are
        trained on as they are, and those that are held out are what nothing was done to ("untouched").
    shapes: generated pictures of known truth, two shapes of different colours side by side, "a red disc left of a blue
        cross"; three wrong captions exchange the colours, the shapes, or both. Held-out pictures are of pairs never
        trained on, and all are searched: none is untouched.

Towers are linear heads on frozen features. Concepts (openmoji) or scenes (shapes) of validation and test are never
trained on, nor are wrong captions that are theirs. Each recipe chooses among its options by the mean of both metrics on
the validation part, and the test part is looked at once. Metrics: `right caption`, how often a held-out picture's
caption scores above all its wrong ones; `R@1`, mean of both directions among the held-out items that are untouched, or
all (shapes).

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from. `given = false` beside them keeps the
        wrong captions from a recipe.
    controls: further recipes (changes of the variant) that the variant is compared with.
    epochs, batch_size, head: the budget, the same for all (12, 64, "linear-head(dim=128)").
"""

from __future__ import annotations

import functools
import io
import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

SETS = ("openmoji", "shapes")
SHARES = (0.6, 0.15, 0.25)
MOST, SIDE = 3, 96
COLOURS = {"red": "#d22", "green": "#2a2", "blue": "#24d", "yellow": "#ec2", "black": "#222", "pink": "#f9c"}
SHAPES = ("disc", "square", "triangle", "cross", "ring", "frame")
RIGHT, FOUND = "right caption", "R@1"

Figures = dict[str, float]


@dataclass(frozen=True)
class Captioned:
    """Features of pictures and captions with those of wrong captions.

    Attributes:
        text, image: [n, width]; wrong: [w, width]; table: [n, 3] rows of `wrong`, -1 where there are fewer.
        concept: [n] int64, what a split must not cut; wrong_concept: [w], that of the item whose caption it is, or -1.
        untouched: [n] bool, which of them R@1 is of.
    """

    text: np.ndarray
    image: np.ndarray
    wrong: np.ndarray
    table: np.ndarray
    concept: np.ndarray
    wrong_concept: np.ndarray
    untouched: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in SETS:
        raise DataError(f"the protocol wrong_captions knows {', '.join(SETS)}, not {data!r}")
    options = spec["options"]
    ours = chosen(data, seed, options, options["variant"])
    base = chosen(data, seed, options, options["baseline"])
    found = {metric: (base[metric], ours[metric]) for metric in ours}
    for control in options.get("controls", []):
        other = chosen(data, seed, options, options["variant"] | control)
        words = ", ".join(f"{k}={v}" for k, v in control.items())
        found |= {f"{metric} against {words}": (other[metric], ours[metric]) for metric in ours}
    return found


def chosen(data: str, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]) -> Figures:
    """The test figures of the recipe with the best mean of both metrics on the validation part."""
    held = captioned(data)
    budget = {"batch_size": options.get("batch_size", 64), "epochs": options.get("epochs", 12)}
    budget |= {"head": options.get("head", "linear-head(dim=128)")}
    given = fields.get("given", True)
    fields = budget | {name: value for name, value in fields.items() if name != "given"}
    lists = {k: v if isinstance(v, list) else [v] for k, v in fields.items()}
    train, *parts = parted(held.concept, seed)
    item, group = torch.arange(len(train)), torch.from_numpy(held.concept[train])
    pairs = TrainData(Features(held.text[train]), Features(held.image[train]), Keys(item, group, item))
    if given:
        # What is a caption of a held-out item would be learnt as wrong everywhere.
        known = np.isin(held.wrong_concept, [-1, *held.concept[train]])
        table = torch.from_numpy(np.where(known[held.table[train]], held.table[train], -1))
        pairs = TrainData(
            pairs.query,
            pairs.document,
            pairs.keys,
            negative=Features(held.wrong),
            negatives=table,
            negative_side="query",
        )
    found = []
    for values in itertools.product(*lists.values()):
        fitted = fit(Recipe.of(dict(zip(lists, values, strict=True))), pairs, seed=seed)
        found.append([figures(fitted, held, rows) for rows in parts])
    return max(found, key=lambda pair: sum(pair[0].values()))[1]


def figures(fitted: Fitted, held: Captioned, rows: np.ndarray) -> Figures:
    """The metrics of some of the items."""
    t, v = fitted.encode("query", held.text[rows]), fitted.encode("document", held.image[rows])
    table, wrong = held.table[rows], fitted.encode("query", held.wrong)
    scores = np.where(table < 0, -np.inf, np.einsum("nd,nsd->ns", v, wrong[table]))
    asked = (table >= 0).any(1)
    first = np.unique(held.concept[rows], return_index=True)[1]
    free = np.intersect1d(first, np.flatnonzero(held.untouched[rows]))
    right = Relevant.by_target(free, free)
    both = [retrieval(a, b, right, ks=(1,))["R@1"] for a, b in ((t[free], v[free]), (v[free], t[free]))]
    return {
        RIGHT: float(((t * v).sum(1) > scores.max(1))[asked].mean()),
        FOUND: float(np.mean([np.nanmean(values) for values in both])),
    }


def parted(concept: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows of training, validation and test; no concept is in two of them."""
    concepts = np.random.default_rng(np.random.SeedSequence([seed, 8])).permutation(np.unique(concept))
    cuts = (np.cumsum(SHARES)[:2] * len(concepts)).astype(int)
    return [np.flatnonzero(np.isin(concept, some)) for some in np.split(concepts, cuts)]


@functools.cache
def captioned(data: str) -> Captioned:
    """A data set by name."""
    made, wrong = _openmoji() if data == "openmoji" else _shapes()
    cache = cache_folder(None, "evidence-vectors")
    there = np.arange(MOST) < np.asarray([len(texts) for texts in wrong])[:, None]
    table = np.where(there, there.cumsum().reshape(there.shape) - 1, -1)
    every = Collection.of({"text": [text for texts in wrong for text in texts]})
    x = {name: np.array(embed(held, column, make("encode", encoder), cache=cache)) for name, held, column, encoder in (
        ("text", made, "text", "minilm"), ("image", made, "image", "lite0"), ("wrong", every, "text", "minilm"),
    )}  # fmt: skip
    concept = made.codes("concept")[0]
    of = dict(zip(made.values("text"), concept.tolist(), strict=True))
    wrong_concept = np.asarray([of.get(text, -1) for text in every.values("text")])
    untouched = ~there.any(1) if data == "openmoji" else np.ones(len(made), dtype=bool)
    return Captioned(x["text"], x["image"], x["wrong"], table, concept, wrong_concept, untouched)


def _openmoji() -> tuple[Collection, list[list[str]]]:
    """Drawings without skin tone; names with one word exchanged for one that stands there in another name."""
    made = shipped("openmoji").where("skin_tone", "")
    names = made.values("text")
    words: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in names:
        for pattern, word in _patterns(name):
            words[pattern].add(word)
    wrong, rng = [], np.random.default_rng(0)
    for name in names:
        others = [
            " ".join(pattern).replace("_", other)
            for pattern, word in _patterns(name)
            for other in sorted(words[pattern] - {word})
        ]
        some = rng.permutation(len(others))[:MOST]
        wrong.append([others[at] for at in sorted(some)])
    return made, wrong


def _patterns(name: str) -> list[tuple[tuple[str, ...], str]]:
    """(the words with one left out, that one) for each word of a name of several."""
    words = name.split()
    return [((*words[:at], "_", *words[at + 1 :]), word) for at, word in enumerate(words) if len(words) > 1]


def _shapes() -> tuple[Collection, list[list[str]]]:
    """Pictures of two things of different colours and shapes; what they are not."""
    images, texts, wrong, scenes = [], [], [], []
    things = list(itertools.product(COLOURS, SHAPES))
    for (a, b), (c, d) in itertools.permutations(things, 2):
        if a == c or b == d:
            continue
        images.append(drawn((a, b), (c, d)))
        texts.append(said(a, b, c, d))
        wrong.append([said(c, b, a, d), said(a, d, c, b), said(c, d, a, b)])
        scenes.append(said(*sorted([(a, b), (c, d)])[0], *sorted([(a, b), (c, d)])[1]))
    return Collection.of({"image": images, "text": texts, "concept": scenes}), wrong


def said(a: str, b: str, c: str, d: str) -> str:
    """The caption of a thing of colour a and shape b, left of one of colour c and shape d."""
    return f"a {a} {b} left of a {c} {d}"


def drawn(*things: tuple[str, str]) -> bytes:
    """A PNG file of up to two things, by colour and shape, from left to right."""
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), "white")
    pen, low, high = ImageDraw.Draw(picture), SIDE // 6, SIDE - SIDE // 6
    for at, (colour, shape) in enumerate(things):
        left, top, fill = at * SIDE, SIDE // 2, COLOURS[colour]
        box = (left + low, top + low, left + high, top + high)
        if shape == "disc":
            pen.ellipse(box, fill=fill)
        elif shape == "ring":
            pen.ellipse(box, outline=fill, width=SIDE // 8)
        elif shape == "frame":
            pen.rectangle(box, outline=fill, width=SIDE // 8)
        elif shape == "square":
            pen.rectangle(box, fill=fill)
        elif shape == "triangle":
            pen.polygon([(left + SIDE // 2, top + low), (left + low, top + high), (left + high, top + high)], fill=fill)
        else:
            middle, half = SIDE // 2, SIDE // 10
            pen.rectangle((left + low, top + middle - half, left + high, top + middle + half), fill=fill)
            pen.rectangle((left + middle - half, top + low, left + middle + half, top + high), fill=fill)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
