"""Early against late fusion: composed queries, words alone and pictures alone, of one training on rows of both kinds.

Rows are those of the protocol `composed` (a drawing, what is to change in words, the drawing that is so), and beside
them, without a reference, the name of every drawing of the training bases. Both recipes are trained on the same rows in
as many steps. Each has what its kind of fusion takes: the variant tokens of both frozen encoders (four corners of a
picture, word pieces), the baseline one vector of each. Each chooses among its options by the mean of R@1 of composed
queries and of names on the validation bases; the test bases are looked at once.

Data: `openmoji-changes-half`, half of the bases in training; `openmoji-changes-few`, a quarter.

Metrics: R@1 of composed queries among all drawings, their own reference left out; of names among the drawings of the
test bases, which no name in training was about, and of drawings among their names; and the first less the second, whose
difference is how much more fusion gains where it is needed. R@1 of composed queries against the reference alone, the
words alone and the sum of both vectors, of the baseline's towers and of the variant's. `seconds of training` of the
recipe that was chosen.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    epochs, batch_size: the budget (8, 128), unless a recipe says another.
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
from tellapart.data.composed import DOCUMENT, OWN, gallery
from tellapart.data.identity import normal
from tellapart.data.shipped import openmoji_changes
from tellapart.data.spool import cache_folder
from tellapart.engine.composed import FIRST, figures, told
from tellapart.engine.early import encoder_for
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.together import joined
from tellapart.protocol.composed import Changes, changes, parts
from tellapart.recipe import Recipe

SHARES = {"openmoji-changes-few": 0.25, "openmoji-changes-half": 0.5}
COMPOSED, TO_PICTURES, TO_WORDS = "R@1 of composed queries", "R@1 of words alone", "R@1 of pictures to words"
MORE, SECONDS = "R@1 of composed queries less that of words alone", "seconds of training"
SIMPLE = ("reference alone", "words alone", "sum of both")
LOWER_IS_BETTER = (SECONDS,)

Found = dict[str, float]


@dataclass(frozen=True, eq=False)
class Rows:
    """What goes into training and measuring, under the encoders of one recipe.

    Attributes:
        pictures, texts, names: frozen features of all drawings, of the changes, and of the names.
    """

    pictures: np.ndarray
    texts: np.ndarray
    names: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in SHARES:
        raise DataError(f"the protocol fused knows {', '.join(SHARES)}, not {data!r}")
    options = spec["options"]
    base, ours = (chosen(data, seed, options, options[name]) for name in ("baseline", "variant"))
    found = {name: (base[name], ours[name]) for name in ours if name not in SIMPLE}
    for name in SIMPLE:
        found |= {f"{COMPOSED}, against {name} of the baseline": (base[name], ours[COMPOSED])}
        found |= {f"{COMPOSED}, against {name} of the variant": (ours[name], ours[COMPOSED])}
    return found


def chosen(data: str, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]) -> Found:
    """The test figures of the recipe that finds most on the validation part."""
    budget = {"batch_size": options.get("batch_size", 128), "epochs": options.get("epochs", 8)}
    lists = {k: v if isinstance(v, list) else [v] for k, v in (budget | dict(fields)).items()}
    train, validation, test = parts(changes(), seed, few=False)
    train = some_bases(train, SHARES[data], seed)
    best: tuple[float, Fitted, Rows] | None = None
    for values in itertools.product(*lists.values()):
        recipe = Recipe.of(dict(zip(lists, values, strict=True)))
        rows = embedded(*(encoder_for(modality, recipe) for modality in ("image", "text")))
        fitted = trained(rows, train, recipe, seed)
        tried = measured(rows, validation, fitted)
        score = (tried[COMPOSED] + tried[TO_PICTURES]) / 2
        if best is None or score > best[0]:
            best = score, fitted, rows
    assert best is not None
    return measured(best[2], test, best[1]) | {SECONDS: best[1].seconds}


def some_bases(train: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The rows of some of the training bases."""
    concept = changes().rows.codes("concept")[0]
    bases = np.unique(concept[train])
    kept = np.random.default_rng(np.random.SeedSequence([seed, 32])).permutation(bases)[: round(share * len(bases))]
    return train[np.isin(concept[train], kept)]


@functools.cache
def named() -> tuple[list[str], np.ndarray]:
    """(the different names, [drawings] which of them a drawing has)."""
    made = changes()
    of: dict[int, str] = {}
    for rows, column in ((made.target, "title"), (made.own, "reference_title")):
        for row, name in zip(rows.tolist(), made.rows.values(column), strict=True):
            of.setdefault(row, normal(name))
    codes: dict[str, int] = {}
    which = [codes.setdefault(of[row], len(codes)) for row in range(len(made.pictures))]
    return list(codes), np.asarray(which)


@functools.cache
def embedded(image: str, text: str) -> Rows:
    """All drawings, changes and names under two encoders, once a process."""
    cache = cache_folder(None, "evidence-vectors")
    rows, documents = gallery(openmoji_changes())
    names = Collection.of({"text": named()[0]})
    words = make("encode", text)
    return Rows(
        np.array(embed(documents, "image", make("encode", image), cache=cache)),
        np.array(embed(rows, "text", words, cache=cache)),
        np.array(embed(names, "text", words, cache=cache)),
    )


def drawings(made: Changes, rows: np.ndarray) -> np.ndarray:
    """The drawings of some rows, targets and references, each once."""
    return np.unique(np.concatenate([made.target[rows], made.own[rows]]))


def trained(x: Rows, rows: np.ndarray, recipe: Recipe, seed: int) -> Fitted:
    """Rows of changes, then those of names, which have no reference."""
    made, (names, which) = changes(), named()
    alone = drawings(made, rows)
    document = [*made.target[rows].tolist(), *alone.tolist()]
    own = [*made.own[rows].tolist(), *[None] * len(alone)]
    texts = [*(made.rows.values("text")[row] for row in rows.tolist()), *(names[which[row]] for row in alone)]
    table = Collection.of({"text": texts, DOCUMENT: document, OWN: own})
    extra = told(table)
    row = torch.arange(len(table))
    held = np.zeros((len(alone), x.pictures.shape[1]), np.float32)
    data = TrainData(
        Features(np.concatenate([x.texts[rows], x.names[which[alone]]])),
        Features(x.pictures[document]),
        Keys(row, row, torch.from_numpy(extra["asked"])),
        others={"other_image": Features(np.concatenate([x.pictures[made.own[rows]], held]))},
        extra=extra,
    )
    return fit(recipe, data, seed=seed)


def measured(x: Rows, rows: np.ndarray, fitted: Fitted) -> Found:
    """Means over the questions of a part, over the drawings of its bases, and over their names."""
    made, (_, which) = changes(), named()
    asked, first = np.unique(made.asked[rows], return_index=True)
    places = rows[first]
    right: dict[int, set[int]] = {}
    for question, target in zip(made.asked[rows].tolist(), made.target[rows].tolist(), strict=True):
        right.setdefault(question, set()).add(target)
    relevant = Relevant.of([sorted(right[question]) for question in asked.tolist()])
    own, composer = made.own[places], fitted.strategy.composer.saved()
    z, t, words = (
        fitted.encode(side, held)
        for side, held in (("document", x.pictures), ("query", x.texts[places]), ("query", x.names))
    )
    q = composer(x.pictures[own], x.texts[places]) if composer.of_features else composer(z[own], t)
    found = {COMPOSED: float(np.mean(figures(q, z, relevant, own)[FIRST]))}
    for name, other in zip(SIMPLE, (z[own], t, joined([z[own], t], "sum")), strict=True):
        found[name] = float(np.mean(figures(other, z, relevant, own)[FIRST]))
    alone = drawings(made, rows)
    said, of = np.unique(which[alone], return_inverse=True)
    there = retrieval(words[said], z[alone], Relevant.by_target(np.arange(len(said)), of))
    back = retrieval(z[alone], words[said], Relevant.by_target(of, np.arange(len(said))))
    found |= {TO_PICTURES: float(np.mean(there["Success@1"])), TO_WORDS: float(np.mean(back["Success@1"]))}
    return found | {MORE: found[COMPOSED] - found[TO_PICTURES]}
