"""Whether captions are told from the same words in another order, on pictures of two things of which one is known.

Data, 600 pictures (shapes: 900), each with a caption of one sentence, whose wrong captions are known:
    drawings: two OpenMoji drawings of 240, side by side or one above the other, "a melon left of a red heart". Wrong:
        the drawings exchanged.
    shapes: two of 36 coloured shapes side by side, "a red disc left of a blue cross" (as in `wrong_captions`). Wrong:
        the colours exchanged, the shapes, or both.

A picture's features are those of its quarters side by side (drawings) or of its halves (shapes), EfficientNet-Lite0's,
so that where a thing stands is in them; a caption's are MiniLM's. Towers are heads on these. Pairs of things of
validation and test pictures are in no training picture.

**negclip** and what it is compared with: recipes that train the towers. Each chooses among its options by the mean of
`exchanged` and `R@1` on the validation part. Metrics on the test part: `exchanged`, how often a picture is nearer to
its caption than to a known wrong one (chance: 1/2); `shuffled`, the same for the four shuffles of `word-order`; `R@1`,
mean of both directions among the test pictures.

**word-order**: what the audit says of two models (`two-tower` and `negclip`), from captions alone, against the truth:
the share of known wrong captions that are told. The baseline takes R@1 for it. Metrics: `error about what is
exchanged`; and `bag of words and encoder`, what the audit says of a model whose captions are sums of words, and of one
whose captions are read in order (in truth: 1/2, and more).

**shuffled-words** (`glosses`: words of WordNet by their glosses; `docstrings`: functions by theirs): R@1 of MiniLM as
the audit gives it, with queries as they are (baseline) and with their words moved, way by way.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from. controls: changes of the variant.
    epochs, batch_size, head: the budget, the same for all (10, 64, "linear-head(dim=64)").
    items: asked by an audit (all test pictures; 600 queries).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make, parse_spec
from tellapart.core.relation import Keys
from tellapart.core.tagging import (
    all_but_those,
    nouns_and_adjectives,
    reordered,
    trigrams,
    within_trigrams,
    words_of,
)
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData, Views
from tellapart.engine.reading import Reader
from tellapart.protocol._sets import shipped
from tellapart.protocol.composites import drawings
from tellapart.protocol.regions import png
from tellapart.protocol.wrong_captions import COLOURS, SHAPES, drawn, said
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("error",)
PICTURES, SHARES, COPIES, WIDTH = 600, (0.6, 0.15, 0.25), 4, 64
WAYS = ("left of", "above", "right of", "below")
EXCHANGED, SHUFFLED, FOUND = "exchanged", "shuffled", "R@1"
SHUFFLES = (nouns_and_adjectives, all_but_those, trigrams, within_trigrams)

Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures and captions with what is known of them.

    Attributes:
        texts: [n] captions; image: [n, width] features; scene: [n] which two things.
        wrong: [n] known wrong captions of each.
    """

    texts: list[str]
    image: np.ndarray
    scene: np.ndarray
    wrong: list[list[str]]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    kinds = {"word-order": told_by_the_audit, "shuffled-words": shuffled_queries}
    name = parse_spec(spec["part"])[0]
    if name in kinds:
        return kinds[name](spec, data, seed)
    held, options = scenes(data), spec["options"]
    ours, base = (chosen(held, seed, options, options[which])[1] for which in ("variant", "baseline"))
    found = {metric: (base[metric], ours[metric]) for metric in ours}
    for control in options.get("controls", []):
        other = chosen(held, seed, options, options["variant"] | control)[1]
        words = ", ".join(f"{k}={v}" for k, v in control.items())
        found |= {f"{metric} against {words}": (other[metric], ours[metric]) for metric in ours}
    return found


def chosen(
    held: Scenes, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]
) -> tuple[Fitted, Figures, np.ndarray]:
    """The towers with the best mean of two metrics on the validation part; their test figures, and the test rows."""
    budget = {"batch_size": options.get("batch_size", 64), "epochs": options.get("epochs", 10)}
    budget |= {"head": options.get("head", "linear-head(dim=64)")}
    lists = {k: v if isinstance(v, list) else [v] for k, v in (budget | dict(fields)).items()}
    train, validation, test = parted(held.scene, seed)
    item, group = torch.arange(len(train)), torch.from_numpy(held.scene[train])
    text = encoded(held.texts)
    found = []
    for values in itertools.product(*lists.values()):
        recipe = Recipe.of(dict(zip(lists, values, strict=True)))
        side = Views(text[train], swaps(held)[train]) if recipe.augment else Features(text[train])
        pairs = TrainData(side, Features(held.image[train]), Keys(item, group, item))
        fitted = fit(recipe, pairs, seed=seed)
        tried = figures(fitted, held, validation)
        found.append((tried[EXCHANGED] + tried[FOUND], fitted))
    best = max(found, key=lambda pair: pair[0])[1]
    return best, figures(best, held, test), test


def figures(fitted: Fitted, held: Scenes, rows: np.ndarray) -> Figures:
    """The metrics of some of the pictures."""
    v, t = fitted.encode("document", held.image[rows]), fitted.encode("query", encoded(held.texts)[rows])
    own = np.einsum("nd,nd->n", v, t)

    def told(pairs: list[tuple[int, str]]) -> float:
        at = np.array([place for place, _ in pairs])
        z = fitted.encode("query", encoded([text for _, text in pairs]))
        return float((own[at] > np.einsum("nd,nd->n", v[at], z)).mean())

    moved = [
        (place, reordered(held.texts[row], order, np.random.default_rng([row, number])))
        for place, row in enumerate(rows)
        for number, order in enumerate(SHUFFLES)
    ]
    right = Relevant.by_target(np.arange(len(rows)), np.arange(len(rows)))
    both = [retrieval(a, b, right, ks=(1,))["R@1"] for a, b in ((t, v), (v, t))]
    return {
        EXCHANGED: told([(place, text) for place, row in enumerate(rows) for text in held.wrong[row]]),
        SHUFFLED: told([(place, text) for place, text in moved if text is not None]),
        FOUND: float(np.mean([np.nanmean(values) for values in both])),
    }


def parted(scene: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows of training, validation and test; no scene is in two of them."""
    every = np.random.default_rng(np.random.SeedSequence([seed, 12])).permutation(np.unique(scene))
    cuts = (np.cumsum(SHARES)[:2] * len(every)).astype(int)
    return [np.flatnonzero(np.isin(scene, some)) for some in np.split(every, cuts)]


def told_by_the_audit(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """What the audit says of trained models, from captions alone, and what is true of them."""
    held, options = scenes(data), spec["options"]
    audit = make("audit", spec["part"], items=options.get("items", 600))
    errors = []
    for which in ("baseline", "variant"):
        fitted, truth, test = chosen(held, seed, options, options[which])
        image = fitted.encode("document", held.image[test])
        some = Collection.of({"id": [f"{row:04d}" for row in test], "text": [held.texts[row] for row in test]})
        given = {"image": image, "text-encoder": lambda texts, of=fitted: of.encode("query", encoded(list(texts)))}
        report = audit(given, some, seed=seed)
        one = np.mean([f.figure.value for f in report.findings() if "exchanged" in f.figure.name])
        errors.append((abs(truth[FOUND] - truth[EXCHANGED]), abs(one - truth[EXCHANGED])))
    bags = bag_of_words(held, audit, seed)
    plain, audited = np.mean(errors, axis=0).tolist()
    return {"error about what is exchanged": (plain, audited), "bag of words and encoder": bags}


def bag_of_words(held: Scenes, audit: Any, seed: int) -> tuple[float, float]:
    """What the audit says where the picture is its own caption's vector: of sums of words, and of MiniLM."""
    some = Collection.of({"id": [f"{row:04d}" for row in range(len(held.texts))], "text": held.texts})
    words = sorted({word.lower() for text in held.texts for word in words_of(text)})
    one = dict(zip(words, encoded(words), strict=True))

    def summed(texts: Any) -> np.ndarray:
        return np.array([sum(one[word.lower()] for word in words_of(text)) for text in texts])

    told = []
    for encode in (summed, lambda texts: encoded(list(texts))):
        noise = np.random.default_rng(seed).normal(size=(len(held.texts), 384))
        image = unit_rows(encode(held.texts)) + 0.5 * unit_rows(noise)
        report = audit({"image": image, "text-encoder": encode}, some, seed=seed)
        told.append(float(np.mean([f.figure.value for f in report.findings()])))
    return told[0], told[1]


def shuffled_queries(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """R@1 of queries as they are and with their words moved."""
    sets = {"glosses": ("wordnet", "gloss", "anchor"), "docstrings": ("docstrings", "anchor", "positive")}
    if data not in sets:
        raise DataError(f"shuffled-words is judged on {', '.join(sets)}, not on {data!r}")
    name, queries, documents = sets[data]
    made, count = shipped(name), spec["options"].get("items", 600)
    if name == "wordnet":
        made = made.where("pos", "n")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 13]))
    texts = made.values(queries)
    able = [row for row in rng.permutation(len(made))[: 4 * count] if 3 <= len(str(texts[row]).split()) <= 40]
    audit = make("audit", spec["part"], queries=queries, documents=documents, items=count)
    report = audit({"encoder": Reader(make("encode", "minilm(max_tokens=64)"))}, made.take(able[:count]), seed=seed)
    plain = report.figure("R@1").value
    return {f.name: (plain, f.value) for f in report.figures() if f.name.startswith("R@1, ")}


@functools.cache
def scenes(data: str) -> Scenes:
    """A data set by name."""
    if data not in ("drawings", "shapes"):
        raise DataError(f"the protocol relations knows drawings and shapes, not {data!r}")
    return _drawings() if data == "drawings" else _shapes()


def _drawings() -> Scenes:
    names, icons, _ = drawings()
    x = of_pictures([png(icon) for icon in icons] + [png(Image.new("RGB", icons[0].size))])
    texts, wrong, scene, held = [], [], [], []
    for n in range(PICTURES):
        rng = np.random.default_rng([11, n])
        a, b = (int(i) for i in rng.choice(len(names), 2, replace=False))
        way = WAYS[n % len(WAYS)]
        texts.append(f"a {names[a]} {way} a {names[b]}")
        wrong.append([f"a {names[b]} {way} a {names[a]}"])
        scene.append(min(a, b) * len(names) + max(a, b))
        quarters = [len(names)] * 4
        first, second = (0, 1) if way in ("left of", "right of") else (0, 2)
        quarters[first], quarters[second] = (a, b) if way in ("left of", "above") else (b, a)
        held.append(quarters)
    return Scenes(texts, x[np.array(held)].reshape(PICTURES, -1), np.array(scene), wrong)


def _shapes() -> Scenes:
    things = list(itertools.product(COLOURS, SHAPES))
    x = of_pictures([drawn(thing) for thing in things])
    at = {thing: n for n, thing in enumerate(things)}
    texts, wrong, scene, held = [], [], [], []
    for one, other in itertools.permutations(things, 2):
        (a, b), (c, d) = one, other
        if a != c and b != d:
            texts.append(said(a, b, c, d))
            wrong.append([said(c, b, a, d), said(a, d, c, b), said(c, d, a, b)])
            # The four pictures of two colours and two shapes are each other's wrong captions, and stay together.
            scene.append(" ".join(sorted([a, c]) + sorted([b, d])))
            held.append([at[one], at[other]])
    return Scenes(texts, x[np.array(held)].reshape(len(texts), -1), np.unique(scene, return_inverse=True)[1], wrong)


def of_pictures(pictures: list[bytes]) -> np.ndarray:
    """[n, up to 64] EfficientNet-Lite0 features of things, in their first directions."""
    cache = cache_folder(None, "evidence-vectors")
    x = np.array(embed(Collection.of({"image": pictures}), "image", make("encode", "lite0"), cache=cache))
    x = x - x.mean(axis=0)
    made: np.ndarray = x @ np.linalg.svd(x, full_matrices=False)[2][:WIDTH].T
    return made.astype(np.float32)


_known: dict[str, np.ndarray] = {}


def encoded(texts: list[str]) -> np.ndarray:
    """[n, 384] MiniLM vectors of texts, each embedded once a process."""
    if missing := [text for text in dict.fromkeys(texts) if text not in _known]:
        x = embed(
            Collection.of({"text": missing}),
            "text",
            make("encode", "minilm"),
            cache=cache_folder(None, "evidence-vectors"),
        )
        _known.update(zip(missing, np.array(x), strict=True))
    return np.stack([_known[text] for text in texts])


@functools.cache
def swaps(held: Scenes) -> np.ndarray:
    """[n, 4, 384] vectors of captions with two words exchanged, as the part `swap-words` exchanges them."""
    part = make("augment", "swap-words")
    made = [
        part(text, rng=np.random.default_rng([n, copy])) for n, text in enumerate(held.texts) for copy in range(COPIES)
    ]
    return encoded(made).reshape(len(held.texts), COPIES, -1)
