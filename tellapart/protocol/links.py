"""Link prediction: which tail belongs to a head and a relation, among all that a collection of triples knows.

A triple is a pair: `anchor` is the text of its head with the relation in words, `positive` the text of its tail. The
triples are split at random, so that heads and tails of the test part may be known from other triples, as is usual for
this task. Towers on frozen features are trained on the training triples; each test triple then ranks the distinct tails
of the whole collection. Tails that other triples of any part say are true are left out of its ranking (filtered), and
ties count half. The baseline and the part have the same triples and steps; each chooses among its options by the
validation part; the test part is looked at once.

Metrics, one value a test triple: `MRR` and `Hits@10`.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the baseline) that the part is compared with.
    triples: taken of the collection at even distances (3000).
    epochs, batch_size, head: the budget, the same for all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.data.identity import curate
from tellapart.data.spool import cache_folder
from tellapart.engine.fit import fit
from tellapart.engine.prepare import train_data
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

KNOWN = ("baseline", "variant", "controls", "triples", "epochs", "batch_size", "head")
DATA, SHARES = ("wordnet-relations",), (0.7, 0.1, 0.2)
TIE = 1e-6

Figures = dict[str, np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{metric: (baseline, part)}, [test triples] each."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol links has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    budget = {
        "batch_size": options.get("batch_size", 64),
        "epochs": options.get("epochs", 10),
        "head": options.get("head", "linear-head(dim=128)"),
    }
    base, most = options.get("baseline", {}), options.get("triples", 3000)
    ours = _chosen(data, seed, budget | options.get("variant", {}), most)
    found = _beside(_chosen(data, seed, budget | base, most), ours, "")
    for control in options.get("controls", []):
        words = ", ".join(f"{k}={v}" for k, v in control.items())
        found |= _beside(_chosen(data, seed, budget | base | control, most), ours, f", against {words}")
    return found


def _beside(one: Figures, other: Figures, words: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {f"{name}{words}": (one[name], other[name]) for name in one}


def _chosen(data: str, seed: int, fields: Mapping[str, Any], most: int) -> Figures:
    """The test figures of the recipe with the best MRR on the validation part."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    found = [_figures(data, recipe, seed, most) for recipe in recipes]
    return max(found, key=lambda figures: figures[0]["MRR"].mean())[1]


@functools.cache
def triples(data: str, most: int) -> tuple[Collection, dict[str, np.ndarray]]:
    """Triples as pairs with their identities, and frozen features of both ends."""
    from tellapart.engine.prepare import features

    if data not in DATA:
        raise DataError(f"the protocol links knows {', '.join(DATA)}, not {data!r}")
    made = shipped(data)
    made = curate(made.take(np.linspace(0, len(made) - 1, min(most, len(made))).astype(int)))
    cache = cache_folder(None, "evidence-vectors")
    return made, {side: np.array(x) for side, x in features(made, Recipe(), cache=cache).items()}


def _figures(data: str, recipe: Recipe, seed: int, most: int) -> tuple[Figures, Figures]:
    """(validation, test) figures of a recipe."""
    made, vectors = triples(data, most)
    order = np.random.default_rng(np.random.SeedSequence([seed, 1])).permutation(len(made))
    ends = np.round(np.cumsum(SHARES) * len(made)).astype(int)
    train, validation, test = np.split(order, ends[:-1])
    fitted = fit(
        recipe, train_data(made.take(train), {side: x[train] for side, x in vectors.items()}, recipe), seed=seed
    )
    asked = made.codes("anchor")[0]
    tail = np.asarray(made.numbers("group"))
    tails, first = np.unique(tail, return_index=True)
    z = fitted.encode("document", vectors["document"][first])
    truth = np.zeros((asked.max() + 1, len(tails)), dtype=bool)
    truth[asked, np.searchsorted(tails, tail)] = True
    found = []
    for rows in (validation, test):
        scores = fitted.encode("query", vectors["query"][rows]) @ z.T
        rank = filtered_ranks(scores, np.searchsorted(tails, tail[rows]), truth[asked[rows]])
        found.append({"MRR": 1 / rank, "Hits@10": (rank <= 10).astype(float)})
    return found[0], found[1]


def filtered_ranks(scores: np.ndarray, right: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[n] places of the right one among what is not known to be true; who ties with it counts half.

    Args:
        scores: [n, tails]; right: [n] the tail asked for; truth: [n, tails] whether any triple says so.
    """
    own = np.take_along_axis(scores, right[:, None], 1)
    above, level = scores > own + TIE, np.abs(scores - own) <= TIE
    return np.asarray(1 + (above & ~truth).sum(1) + (level & ~truth).sum(1) / 2)
