"""Strategies that join a reference picture and a change in words: finding the picture that comes out.

Frozen vectors of EfficientNet-Lite0 and MiniLM, small heads and the strategy's module above them. Rows are split by
base concept (60, 20 and 20 of 100), so that nothing of a held-out base was seen. Each recipe chooses among its options
by R@1 on the validation part; the test part is looked at once. Searched are all pictures of all parts, references
included; a query's own reference is no answer.

Data:
    openmoji-changes: drawings changed in skin tone, gender, hair, colour or direction, by template; coarse changes
        ("with another skin tone") have several right pictures.
    openmoji-changes-few: the same with a quarter of the bases in training.

Metrics: those of `engine.composed.figures`; `R@1 of fine changes`; `R@1, the reference left in`, as where the picture
that is searched with lies in the collection and nobody knows; R@1 against the reference alone, the words alone and the
sum of both vectors of the variant's own towers; `seconds of training`, of the recipe that was chosen.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    epochs, batch_size, head: the budget (12, 128, "linear-head(dim=128)"), unless the recipe says another.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.composed import DOCUMENT, OWN, QUERY, gallery
from tellapart.data.shipped import openmoji_changes
from tellapart.data.spool import cache_folder
from tellapart.engine.composed import FIRST, ITSELF, figures, told
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.together import joined
from tellapart.recipe import Recipe

DATA = ("openmoji-changes", "openmoji-changes-few")
SHARES, FEW = (0.6, 0.2, 0.2), 0.25
FINE, SECONDS, LEFT_IN = "R@1 of fine changes", "seconds of training", "R@1, the reference left in"
LOWER_IS_BETTER = (ITSELF, SECONDS)

Figures = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Changes:
    """Rows with all that is known of them.

    Attributes:
        rows: as `data.composed.gallery` gives them.
        pictures: [m, width] frozen vectors of all pictures; texts: [n, width] of the changes.
        target, own: [n] rows of `pictures`.
        asked: [n] equal for one question.
    """

    rows: Collection
    pictures: np.ndarray
    texts: np.ndarray
    target: np.ndarray
    own: np.ndarray
    asked: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in DATA:
        raise DataError(f"the protocol composed knows {', '.join(DATA)}, not {data!r}")
    options = spec["options"]
    base, ours = (chosen(data, seed, options, options[name]) for name in ("baseline", "variant"))
    plain = ("reference alone", "words alone", "sum of both")
    found: Figures = {name: (base[name], ours[name]) for name in ours if name not in plain}
    return found | {f"{FIRST}, against {name}": (ours[name], ours[FIRST]) for name in plain}


def chosen(data: str, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, float]:
    """The test figures of the recipe that finds most on the validation part."""
    budget = {"batch_size": options.get("batch_size", 128), "epochs": options.get("epochs", 12)}
    budget |= {"head": options.get("head", "linear-head(dim=128)")}
    lists = {k: v if isinstance(v, list) else [v] for k, v in (budget | dict(fields)).items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    made = changes()
    train, validation, test = parts(made, seed, few=data.endswith("few"))
    found = []
    for recipe in recipes:
        fitted = trained(made, train, recipe, seed)
        found.append((measured(made, validation, fitted)[FIRST], fitted))
    best = max(found, key=lambda pair: pair[0])[1]
    return measured(made, test, best) | {SECONDS: best.seconds}


@functools.cache
def changes() -> Changes:
    """All rows, embedded once a process."""
    cache = cache_folder(None, "evidence-vectors")
    rows, documents = gallery(openmoji_changes())
    pictures = np.array(embed(documents, "image", make("encode", "lite0"), cache=cache))
    texts = np.array(embed(rows, "text", make("encode", "minilm"), cache=cache))
    target, own = (np.asarray([documents.row_of[x] for x in rows.values(name)]) for name in (DOCUMENT, OWN))
    return Changes(rows, pictures, texts, target, own, rows.codes(QUERY)[0])


def parts(made: Changes, seed: int, *, few: bool) -> list[np.ndarray]:
    """Rows of training, validation and test, whole bases."""
    concept = made.rows.codes("concept")[0]
    order = np.random.default_rng(np.random.SeedSequence([seed, 31])).permutation(int(concept.max()) + 1)
    groups = np.split(order, (np.cumsum(SHARES)[:2] * len(order)).astype(int))
    if few:
        groups[0] = groups[0][: max(2, round(FEW * len(groups[0])))]
    return [np.flatnonzero(np.isin(concept, group)) for group in groups]


def trained(made: Changes, rows: np.ndarray, recipe: Recipe, seed: int) -> Fitted:
    """Towers and module."""
    some = made.rows.take(rows)
    extra = told(some)
    row = torch.arange(len(rows))
    keys = Keys(row, row, torch.from_numpy(extra["asked"]))
    data = TrainData(
        Features(made.texts[rows]),
        Features(made.pictures[made.target[rows]]),
        keys,
        others={"other_image": Features(made.pictures[made.own[rows]])},
        extra=extra,
    )
    return fit(recipe, data, seed=seed)


def measured(made: Changes, rows: np.ndarray, fitted: Fitted) -> dict[str, float]:
    """Means over the questions of a part, each asked once."""
    asked, first = np.unique(made.asked[rows], return_index=True)
    places = rows[first]
    right: dict[int, set[int]] = {}
    for question, target in zip(made.asked[rows].tolist(), made.target[rows].tolist(), strict=True):
        right.setdefault(question, set()).add(target)
    relevant = Relevant.of([sorted(right[question]) for question in asked.tolist()])
    z, t = fitted.encode("document", made.pictures), fitted.encode("query", made.texts[places])
    r, own = z[made.own[places]], made.own[places]
    q = fitted.strategy.composer.saved()(r, t)
    values = figures(q, z, relevant, own)
    fine = ~np.asarray(made.rows.values("coarse"))[places]
    found = {name: float(np.mean(x)) for name, x in values.items()}
    found[FINE] = float(np.mean(values[FIRST][fine]))
    found[LEFT_IN] = float(np.mean(figures(q, z, relevant, np.full_like(own, -1))[FIRST]))
    for name, other in (("reference alone", r), ("words alone", t), ("sum of both", joined([r, t], "sum"))):
        found[name] = float(np.mean(figures(other, z, relevant, own)[FIRST]))
    return found
