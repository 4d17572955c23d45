"""Items that rules solve without a look, on generated pictures of which it is known which captions say who is who.

`composites`: of each picture two or three people, and in a third of them a passer-by without a name, stand somewhere,
each box as large as chance has it; a person holds one of 240 OpenMoji drawings, whose EfficientNet-Lite0 features are
those of the box. `biased` of the captions (0.7) only name the people, from left to right: most as a list ("Anna, Ben
and Carl in Paris"), a quarter with a verb ("Anna talks to Ben"). The others say what each holds, in random order; a
tenth of them without a verb ("Anna (red apple), Ben (ox)"), so that the grounds of the part are wrong about them.

Baseline `order`: every picture whose names go from left to right is left out; its score is that it does.

Metrics: `precision`, `recall` and `AUROC` against which captions are biased; `left to right, away from chance` and
`largest first, away from chance`: |accuracy - chance| of the rule on all (baseline) and on what is left; the same
against what the baseline leaves (`…, against order`). `matcher`: names given to boxes, right on the test part of what
is left, by a small network trained on all (baseline) and on what is left; `matcher, as many` on as many of all drawn at
random; `matcher, telling captions` on the test captions that are known to say who is who. The network sees of a name
the MiniLM vector of the words about it and its place in the caption; of a box its features and its places by x and by
size (vectors of the 64 leading directions of the drawings). Its weight decay is chosen on the validation part of what
it is trained on.

Options (`[options]` of the spec):
    pictures: how many (1500).
    biased: the share of captions that do not say who is who (0.7).
    epochs: of the network (150).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.shortcuts import LAYOUTS, by_layout, named
from tellapart.core.sources import reduced
from tellapart.data.spool import cache_folder
from tellapart.protocol.find import Figures, against

LOWER_IS_BETTER = (
    "left to right, away from chance", "left to right, away from chance, against order",
    "largest first, away from chance", "largest first, away from chance, against order",
)  # fmt: skip
PEOPLE = ("Anna", "Ben", "Carl", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jo")
PLACES = ("in Paris", "at the fair", "in 2012", "on the stage", "after the race")
ACTS = ("talks to", "greets", "stands beside", "smiles at")
MOST, WIDTH, DECAYS = 4, 64, (1e-4, 1e-2, 1e-1)
LEFT, LARGEST = list(LAYOUTS)[2], next(iter(LAYOUTS))


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "order":
        raise DataError(f"what is solved without a look is compared with order, not with {spec['baseline']}")
    if data != "composites":
        raise DataError(f"what is solved without a look is judged on composites, not on {data!r}")
    options, rng = spec["options"], np.random.default_rng(np.random.SeedSequence([seed, 21]))
    n = options.get("pictures", 1500)
    collection, biased, told = composites(n, options.get("biased", 0.7), rng)
    found = make("find", spec["part"])({}, collection, seed=seed)
    items = named(collection)
    solved, chance = by_layout(items)
    left_right = solved[list(LAYOUTS).index(LEFT)]
    figures = against(biased, left_right.astype(float), left_right, found)
    kept = ~np.isin(collection.ids, found.proposed().table["item"].to_pylist())
    for words, name in (("left to right", LEFT), ("largest first", LARGEST)):
        rule = list(LAYOUTS).index(name)
        away = [abs(float((solved - chance)[rule, rows].mean())) for rows in (np.ones(n, bool), ~left_right, kept)]
        figures[f"{words}, away from chance"] = (away[0], away[2])
        figures[f"{words}, away from chance, against order"] = (away[1], away[2])
    x = seen(items, told)
    place = rng.random(n)
    train, validation, test = place < 0.6, (place >= 0.6) & (place < 0.75), place >= 0.75
    fewer = np.zeros(n, bool)
    fewer[rng.permutation(np.flatnonzero(train | validation))[: int((kept & (train | validation)).sum())]] = True
    epochs = options.get("epochs", 150)
    right = {
        name: matched(x, train & rows, validation & rows, seed, epochs)
        for name, rows in (("all", np.ones(n, bool)), ("kept", kept), ("fewer", fewer))
    }
    for words, other, rows in (
        ("matcher", "all", test & kept),
        ("matcher, as many", "fewer", test & kept),
        ("matcher, telling captions", "all", test & ~biased),
    ):
        figures[words] = (float(right[other][rows].mean()), float(right["kept"][rows].mean()))
    return figures


@functools.cache
def drawings() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, features and MiniLM vectors of the names of 240 drawings."""
    from tellapart.engine.embed import embed
    from tellapart.protocol import _sets

    made = _sets.shipped("openmoji")
    made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    short = [row for row, text in enumerate(made.values("text")) if len(str(text).split()) <= 2]
    made = made.take(np.sort(np.random.default_rng(5).permutation(short)[:240]))
    cache = cache_folder(None, "evidence-vectors")
    pictures, words = (np.array(embed(made, c, make("encode", e), cache=cache)) for c, e in SIDES.items())
    return [str(text) for text in made.values("text")], reduced(pictures, WIDTH), reduced(words, WIDTH)


SIDES = {"image": "lite0", "text": "minilm"}


def composites(n: int, share: float, rng: np.random.Generator) -> tuple[Collection, np.ndarray, list[list[list[int]]]]:
    """(pictures with captions and regions, [n] whether a caption is biased, [drawings of the boxes, of the names])."""
    names, *_ = drawings()
    rows: dict[str, list[Any]] = {"image": [], "text": [], "regions": []}
    biased, told = rng.random(n) < share, []
    for i in range(n):
        k = int(rng.integers(2, MOST))
        m = k + int(rng.random() < 1 / 3)
        held = rng.choice(len(names), m, replace=False)
        people = [str(name) for name in rng.choice(PEOPLE, k, replace=False)]
        side = rng.uniform(40, 120, m)
        box = np.column_stack([rng.uniform(0, 500, m), rng.uniform(0, 200, m), side, side])
        order = np.argsort(box[:k, 0]) if biased[i] else rng.permutation(k)
        who = [people[p] for p in order]
        if biased[i] and rng.random() < 0.75:
            text = f"{', '.join(who[:-1])} and {who[-1]} {rng.choice(PLACES)}"
        elif biased[i]:
            text = f"{who[0]} {rng.choice(ACTS)} {' beside '.join(who[1:])}"
        elif rng.random() < 0.1:
            text = ", ".join(f"{people[p]} ({names[held[p]]})" for p in order)
        else:
            text = ", ".join(f"{people[p]} holds {names[held[p]]}" for p in order)
        sides = ("x", "y", "width", "height")
        whole = zip(box.tolist(), [*people, *[None] * (m - k)], strict=True)
        rows["regions"].append([dict(zip(sides, one, strict=True)) | {"name": name} for one, name in whole])
        rows["image"].append(f"{i}.png")
        rows["text"].append(text)
        told.append([held.tolist(), [] if biased[i] else held[order].tolist()])
    return Collection.of(rows), biased, told


def seen(items: list[Any], told: list[list[list[int]]]) -> dict[str, torch.Tensor]:
    """What the network sees: words [n, names, t], boxes [n, boxes, d], places [n, names, boxes, f], which is right."""
    _, pictures, words = drawings()
    n = len(items)
    said = np.zeros((n, MOST - 1, words.shape[1]), np.float32)
    boxes = np.zeros((n, MOST, pictures.shape[1]), np.float32)
    place = np.zeros((n, MOST - 1, MOST, 2, MOST - 1, MOST), np.float32)
    right, there = np.full((n, MOST - 1), -1), np.zeros((n, MOST), bool)
    for i, item in enumerate(items):
        held, of = told[i]
        m, k = len(item.boxes), len(item.right)
        boxes[i, :m], there[i, :m], right[i, :k] = pictures[held], True, item.right
        said[i, : len(of)] = words[of]
        orders = np.argsort(item.boxes[:, 0]), np.argsort(-item.boxes[:, 2])
        for kind, order in enumerate(orders):
            for at, box in enumerate(order):
                place[i, np.arange(k), box, kind, np.arange(k), at] = 1
    found = {"said": said, "boxes": boxes, "place": place.reshape(n, MOST - 1, MOST, -1)}
    return {name: torch.tensor(x) for name, x in found.items()} | {
        "right": torch.tensor(right), "there": torch.tensor(there),
    }  # fmt: skip


def matched(x: dict[str, torch.Tensor], train: np.ndarray, held: np.ndarray, seed: int, epochs: int) -> np.ndarray:
    """[n] share of the names of a picture that are given to their boxes, by the best of `DECAYS` on what is held."""
    tried = [_trained(x, np.flatnonzero(train), seed, epochs, decay) for decay in DECAYS]
    return max(tried, key=lambda right: float(right[held].mean()))


def _trained(x: dict[str, torch.Tensor], rows: np.ndarray, seed: int, epochs: int, decay: float) -> np.ndarray:
    torch.manual_seed(seed)
    towers = torch.nn.ModuleList(
        torch.nn.Linear(x[name].shape[-1], WIDTH, bias=False) for name in ("said", "boxes")
    ).append(torch.nn.Linear(x["place"].shape[-1], 1, bias=False))
    optimizer = torch.optim.AdamW(towers.parameters(), lr=3e-3, weight_decay=decay)
    draw = np.random.default_rng(seed)

    def scores(some: torch.Tensor) -> torch.Tensor:
        said = torch.nn.functional.normalize(towers[0](x["said"][some]), dim=-1, eps=1e-6)
        boxes = torch.nn.functional.normalize(towers[1](x["boxes"][some]), dim=-1, eps=1e-6)
        both = 10 * said @ boxes.transpose(1, 2) + towers[2](x["place"][some])[..., 0]
        return both.masked_fill(~x["there"][some][:, None], -torch.inf)

    for _ in range(epochs):
        some = torch.tensor(draw.permutation(rows)[:128])
        right = x["right"][some]
        loss = torch.nn.functional.cross_entropy(scores(some).flatten(0, 1), right.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        told = scores(torch.arange(len(x["right"]))).argmax(-1)
    names = x["right"] >= 0
    return ((told == x["right"]) & names).sum(1).div(names.sum(1)).numpy()
