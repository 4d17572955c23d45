"""Nodes of a graph with a text: vectors that were trained on links and no labels, judged by a probe on few labels.

All nodes and links are seen in training, as is usual for this task, and no label is. A logistic regression on the
vectors of `labelled` nodes a class then tells the classes of the others. Recipes are chosen by its accuracy on
`validation` nodes a class; the rest is the test part, looked at once. Two kinds of vectors are judged: those with links
(the strategy's `fine` view, which the paper evaluates) and those of the text alone, by the trained tower, which is what
is searched by afterwards. A recipe is chosen for each kind by itself.

Metrics, one value a test node: `accuracy with links`, `accuracy of texts`. `weight on false negatives` is one number a
run: the share of the negatives' weight that lies on nodes of the node's own class.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the baseline) that the part is compared with.
    frozen: true to compare texts with the frozen features as well.
    nodes, labelled, validation, epochs, batch_size, head: the budget, the same for all.

Data, out of `wordnet-graph`, families of a synset and its kinds: `nouns` and `verbs`. The class is the lexicographer
file.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.relation import Keys
from tellapart.data.graph import EDGES
from tellapart.data.spool import cache_folder
from tellapart.engine.fit import fit
from tellapart.engine.inputs import TrainData
from tellapart.engine.prepare import features, train_data
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("weight on false negatives",)
KNOWN = ("baseline", "variant", "controls", "frozen", "nodes", "labelled", "validation", "epochs", "batch_size", "head")
DATA = {"nouns": "n", "verbs": "v"}
KINSHIP, FAMILY = "is a kind of", 12
STEPS = 500

Figures = dict[str, tuple[Any, Any]]
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Judged:
    """What a recipe came to: accuracy on the validation part and hits of the test nodes by kind of vectors."""

    validation: dict[str, float]
    test: dict[str, np.ndarray]
    false: float


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, part)}."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol graphs has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    made, x = nodes(data, options.get("nodes", 1500))
    parts = parted(made, options.get("labelled", 20), options.get("validation", 10), seed)
    budget = {
        "batch_size": options.get("batch_size", 256),
        "epochs": options.get("epochs", 20),
        "head": options.get("head", "linear-head(dim=128)"),
    }
    base = budget | options["baseline"]
    ours = _tried(made, x, parts, seed, budget | options["variant"])
    others = {"": _tried(made, x, parts, seed, base)}
    for control in options.get("controls", []):
        words = ", ".join(f"{name}={value}" for name, value in control.items())
        others[f" against {words}"] = _tried(made, x, parts, seed, base | control)
    figures: Figures = {}
    for words, found in others.items():
        for kind in ("accuracy with links", "accuracy of texts"):
            figures[kind + words] = (_best(found, kind).test[kind], _best(ours, kind).test[kind])
    kind = "accuracy with links"
    figures["weight on false negatives"] = (_best(others[""], kind).false, _best(ours, kind).false)
    if options.get("frozen"):
        kind = "accuracy of texts"
        figures[f"{kind} against frozen features"] = (probed(x, made, parts)[1], _best(ours, kind).test[kind])
    return figures


@functools.cache
def nodes(data: str, most: int) -> tuple[Collection, np.ndarray]:
    """A graph of about so many nodes, and the frozen features [n, d] of their texts."""
    if data not in DATA:
        raise DataError(f"the protocol graphs knows {', '.join(DATA)}, not {data!r}")
    made = families(shipped("wordnet-graph").where("pos", DATA[data]), most)
    found = features(made, Recipe(), cache=cache_folder(None, "evidence-vectors"))
    return made, np.array(found["query"])


def families(made: Collection, most: int) -> Collection:
    """Nodes in drawn families, each a node and at most `FAMILY` of its kinds, until there are enough."""
    row_of, kinds = made.row_of, {}
    for row, links in enumerate(made.values(EDGES)):
        for link in links:
            if link["relation"] == KINSHIP and link["node"] in row_of:
                kinds.setdefault(row_of[link["node"]], []).append(row)
    rng = np.random.default_rng(0)
    heads = [head for head, found in kinds.items() if len(found) > 1]
    taken: set[int] = set()
    for head in rng.permutation(heads):
        if len(taken) >= most:
            break
        taken |= {int(head), *rng.permutation(kinds[head])[:FAMILY].tolist()}
    return made.take(sorted(taken))


def parted(made: Collection, labelled: int, validation: int, seed: int) -> Parts:
    """Rows for the probe, for choosing and for the test, by class; a class too small for all three is left out."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    codes, _ = made.codes("label")
    found: list[list[int]] = [[], [], []]
    for code in np.unique(codes):
        rows = rng.permutation(np.flatnonzero(codes == code))
        if len(rows) < labelled + 2 * validation:
            continue
        pieces = np.split(rows, [labelled, labelled + validation])
        for part, piece in zip(found, pieces, strict=True):
            part += piece.tolist()
    if not found[0]:
        raise DataError(f"no class has {labelled + 2 * validation} nodes")
    return np.sort(found[0]), np.sort(found[1]), np.sort(found[2])


def probed(z: np.ndarray, made: Collection, parts: Parts) -> tuple[float, np.ndarray]:
    """(accuracy on the validation part, [test nodes] hits) of a logistic regression on vectors [n, d]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    codes, _ = made.codes("label")
    scaler = StandardScaler().fit(z[parts[0]])
    probe = LogisticRegression(C=0.1, max_iter=STEPS).fit(scaler.transform(z[parts[0]]), codes[parts[0]])
    hits = [probe.predict(scaler.transform(z[rows])) == codes[rows] for rows in parts[1:]]
    return float(hits[0].mean()), hits[1].astype(float)


def _tried(made: Collection, x: np.ndarray, parts: Parts, seed: int, fields: Mapping[str, Any]) -> list[Judged]:
    """Every recipe among the fields, trained and judged."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    return [_judged(made, x, parts, seed, recipe) for recipe in recipes]


def _best(found: list[Judged], kind: str) -> Judged:
    return max(found, key=lambda judged: judged.validation[kind])


def _judged(made: Collection, x: np.ndarray, parts: Parts, seed: int, recipe: Recipe) -> Judged:
    fitted = fit(recipe, _unlabelled(train_data(made, {"query": x, "document": x}, recipe)), seed=seed)
    h = fitted.encode("document", x)
    with torch.no_grad():
        z = fitted.strategy.fine(torch.from_numpy(h)).numpy()
        false = _false(fitted.strategy, h, made)
    validation, test = {}, {}
    for kind, vectors in (("accuracy with links", z), ("accuracy of texts", h)):
        validation[kind], test[kind] = probed(vectors, made, parts)
    return Judged(validation, test, false)


def _unlabelled(data: TrainData) -> TrainData:
    """The same data with every node its own class: no part can look at a label."""
    return replace(data, keys=Keys(data.keys.item, data.keys.item, data.keys.item))


def _false(strategy: Any, h: np.ndarray, made: Collection) -> float:
    """The share of the weight of the negatives that lies on nodes of the same class."""
    codes, _ = made.codes("label")
    weight = strategy.weights(torch.from_numpy(h)).numpy()
    np.fill_diagonal(weight, 0)
    return float(weight[codes[:, None] == codes].sum() / weight.sum())
