"""Parts that look for pairs which do not belong together, on pairs of which some were exchanged.

Data: `openmoji` (names and drawings, one of each concept), `wordnet` (the words of noun synsets and their glosses). A
`share` of the items hand their text on to the next of them; what comes of it is a fault.

Baselines: `in-sample`, the same model fitted on all pairs, those that it judges included, and ordered by their cosine;
`cosine`, the cosine under the same cross-fitted model, as LAION-5B orders pairs by that of CLIP. A baseline has no
threshold of its own and tells as many as the part proposes.

Metrics: `precision` and `recall` of what is proposed, and `AUROC` of the scores, against what was exchanged.

Options (`[options]` of the spec):
    share: how many of the items get another's text (0.2).
    items: at most so many items of a data set (2000).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.crossfit import correlated, folds_of
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets
from tellapart.protocol.audit import synsets
from tellapart.protocol.find import Figures, against

DIM, RIDGE, FOLDS = 128, 3.0, 10


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    x, y = pairs(data)
    rows = np.sort(rng.permutation(len(x))[: spec["options"].get("items", 2000)])
    x, y, n = x[rows].copy(), y[rows], len(rows)
    wrong = np.zeros(n, bool)
    bad = rng.permutation(n)[: round(n * spec["options"].get("share", 0.2))]
    wrong[bad], x[bad] = True, x[np.roll(bad, 1)]
    collection = Collection.of({"text": [f"text {i}" for i in range(n)], "image": [f"{i}.png" for i in range(n)]})
    found = make("find", spec["part"])({"query": x, "document": y}, collection, seed=seed)
    plain = -_cosine(spec["baseline"], x, y, rng)
    told = np.zeros(n, bool)
    told[np.argsort(-plain, kind="stable")[: len(found.proposed())]] = True
    return against(wrong, plain, told, found)


def _cosine(baseline: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if baseline not in ("in-sample", "cosine"):
        raise DataError(f"a part that looks for misfits is compared with in-sample or cosine, not with {baseline}")
    fold = folds_of(np.arange(len(x)), FOLDS, rng) if baseline == "cosine" else np.zeros(len(x), int)
    cosine = np.empty(len(x))
    for f in np.unique(fold):
        own = fold == f
        rest = ~own if baseline == "cosine" else own
        query, document = correlated(x[rest], y[rest], dim=DIM, ridge=RIDGE)
        cosine[own] = (query(x[own]) * document(y[own])).sum(axis=1)
    return cosine


@functools.cache
def pairs(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Frozen features of texts and of what they are about, one row a pair."""
    from tellapart.engine.embed import embed

    if data not in ("openmoji", "wordnet"):
        raise DataError(f"misfits are looked for in openmoji and wordnet, not in {data!r}")
    if data == "wordnet":
        x, y, _ = synsets()
        return x, y
    made, cache = _sets.shipped(data), cache_folder(None, "evidence-vectors")
    made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    columns = {"text": "minilm", "image": "lite0"}
    x, y = (np.array(embed(made, column, make("encode", name), cache=cache), float) for column, name in columns.items())
    return x, y
