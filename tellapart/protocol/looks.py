"""Pictures of which some look otherwise: whether these are found, and how well their classes are told after training.

A share `rare` of the pictures, of every class as large, is altered: its look is rare and its label as frequent as any.
Features are the pixels.

**strategies**: a head of two layers on the pixels is trained from the same start, on the same batches, by one recipe or
another with vectors of the classes. Every validation and test picture is judged in both looks; each side chooses among
its recipes the one that tells the rare look best on the validation pictures, of those that are within a point of its
best on the common look, and the test is looked at once.

- `accuracy, rare look`, `accuracy, common look`: of the test pictures, one by one.
- `looks told apart`: how often a rare training picture has a greater weight than a common one, beside one half.

**rare-looks**: what is proposed, against what was altered. The baseline `k-means` is the same rule on 20 clusters.

- `precision` (the purity of what is proposed), `recall`, `AUROC` of the scores.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe, `strategy` and `objective`; a list holds what is chosen from.
    controls: {words: fields} of further recipes that the variant is compared with. Beside the fields of a strategy that
        keeps a `weight` of every item, `weights = "dealt"` deals the same ones out at random, and `"inverse"` takes
        those of one over the share of the item's cluster, of mean 1.
    items, rare, epochs, batch_size, rate: pictures to train on or to look at, and the budget, the same for all (900,
        0.04, 12, 64, 0.003).

Data: `digits-inverted`, `digits-turned` (by a right angle), of 8 pixels a side, and `fashion-inverted`, of 14.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError, near
from tellapart.core.features import unit_rows
from tellapart.core.looks import shares as shares_of
from tellapart.core.parts import cards, make, parse_spec
from tellapart.core.plan import kmeans
from tellapart.core.relation import Keys
from tellapart.engine import towers
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.memory import Chain
from tellapart.engine.session import Run
from tellapart.protocol._small_pictures import flat, pictures, shares
from tellapart.protocol._unknown import auroc
from tellapart.protocol.find import against
from tellapart.protocol.small_networks import _fit, answered, deal
from tellapart.recipe import Recipe

KNOWN = ("baseline", "variant", "controls", "items", "rare", "epochs", "batch_size", "rate")
LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "digits-inverted": lambda x: 255 - x,
    "digits-turned": lambda x: np.ascontiguousarray(np.rot90(x, axes=(1, 2))),
    "fashion-inverted": lambda x: 255 - x,
}
NETWORK = {"head": "mlp-head(hidden=128, dim=64)"}
CLUSTERS = 20
GIVEN_UP = 0.01  # of the accuracy on common looks
Found = tuple[dict[str, float], dict[str, np.ndarray], float]  # validation and test by look, looks told apart


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol looks has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in LOOKS:
        raise PartError(f"there are no looks named {data!r}; {near(data, LOOKS)}")
    if parse_spec(spec["part"])[0] in cards("find"):
        return found(spec, data, seed)
    ours = chosen(data, seed, options, options["variant"])
    others = {"": options["baseline"]} | {f", against {k}": v for k, v in options.get("controls", {}).items()}
    figures: dict[str, tuple[Any, Any]] = {}
    for words, fields in others.items():
        base = chosen(data, seed, options, fields)
        figures |= {f"accuracy, {look} look{words}": (base[1][look], ours[1][look]) for look in ours[1]}
    return figures | {"looks told apart": (0.5, ours[2])}


def found(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """What is proposed of pictures of which some look otherwise, by looks and by clusters of k-means."""
    seen, _, rare = altered(data, seed, spec["options"])
    n = len(seen)
    made = {"image": [f"{i}.png" for i in range(n)], "label": ["thing"] * n}
    ours = make("find", spec["part"])({"document": flat(seen)}, Collection.of(made), seed=seed)
    share = shares_of(kmeans(unit_rows(flat(seen)).astype(np.float32), CLUSTERS, seed))
    return against(rare, 1 - share, share <= 0.1 * share.mean(), ours)


def altered(data: str, seed: int, options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([n, h, w] training pictures, some altered; [n] their labels; [n] which are altered)."""
    x, y = pictures(data.split("-")[0])
    train = shares(len(x), seed, options.get("items", 900))[0]
    rare = drawn(y[train], options.get("rare", 0.04), seed)
    return np.where(rare[:, None, None], LOOKS[data](x[train]), x[train]), y[train], rare


def chosen(data: str, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]) -> Found:
    """What the recipe gives that is best on the validation pictures."""
    lists = {k: v if isinstance(v, list) else [v] for k, v in fields.items() if k != "weights"}
    recipes = [NETWORK | dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    found = [trained(data, seed, options, Recipe.of(recipe), fields.get("weights", "")) for recipe in recipes]
    least = max(each[0]["common"] for each in found) - GIVEN_UP
    return max((each for each in found if each[0]["common"] >= least), key=lambda each: each[0]["rare"])


def drawn(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """[n] which pictures have the rare look: as large a share of every class, one at least."""
    rng, rare = np.random.default_rng(np.random.SeedSequence([seed, 11])), np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        rare[rows[: max(1, round(share * len(rows)))]] = True
    return rare


def trained(data: str, seed: int, options: Mapping[str, Any], recipe: Recipe, weights: str) -> Found:
    """What a network answers rightly after training on the training share."""
    x, y = pictures(data.split("-")[0])
    _, spare, validation, test = shares(len(x), seed, options.get("items", 900))
    seen, label, rare = altered(data, seed, options)
    item, inputs = torch.arange(len(seen)), Features(flat(seen))
    held = TrainData(inputs, inputs, Keys(item, item, torch.from_numpy(label)), True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Run(recipe, held, towers.build(recipe, held), Chain.of(recipe.objective), seed, torch.device("cpu"))
        strategy = make("strategy", recipe.strategy)
        strategy.begin(made)
        apart = auroc(strategy.weight.numpy()[~rare], strategy.weight.numpy()[rare]) if _weighs(strategy) else 0.5
        if weights:
            strategy.weight = _otherwise(strategy, weights, seed)
        _fit(made, strategy, options)
    right = {}
    for name, rows in (("validation", validation), ("test", np.concatenate([test, spare]))):
        for look, shown in (("rare", LOOKS[data](x[rows])), ("common", x[rows])):
            said = answered(made.towers["query"], strategy, Features(flat(shown)))
            right[name, look] = (said == y[rows]).astype(np.float64)
    kept = {look: float(right["validation", look].mean()) for look in ("rare", "common")}
    return kept, {look: right["test", look] for look in ("rare", "common")}, float(apart)


def _weighs(strategy: Any) -> bool:
    return isinstance(getattr(strategy, "weight", None), torch.Tensor)


def _otherwise(strategy: Any, weights: str, seed: int) -> torch.Tensor:
    if not _weighs(strategy):
        raise PartError(f"weights = {weights!r} is for a strategy that keeps a weight of every item")
    if weights == "dealt":
        return deal(strategy.weight, seed)
    if weights == "inverse":
        return (1 / strategy.share) / (1 / strategy.share).mean()
    raise PartError(f"weights are dealt or inverse, not {weights!r}")
