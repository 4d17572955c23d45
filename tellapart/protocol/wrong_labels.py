"""Parts that look for wrong labels, on collections of which some labels were changed, so that each is known.

Data: what `protocol._sets` gives frozen features and labels of (`fashion`, `wordnet`, `mnist`, `digits`). A `share` of
the items get another label, any of the others with equal chance.

Baseline `disagrees`: of the same probabilities, by the same classifier fitted on the same other folds, every item whose
likeliest class is not the given label, ordered by 1 - p of the given label.

Metrics: `precision` and `recall` of what is proposed, and `AUROC` of the scores, against what was changed.

Options (`[options]` of the spec):
    share: how many of the labels are changed (0.1).
    items: at most so many items of a data set (700).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.crossfit import crossed, judged
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol.find import Figures, against

FOLDS, CLASSIFY = 5, "logistic-regression(c=0.01)"


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "disagrees":
        raise DataError(f"a part that looks for wrong labels is compared with disagrees, not with {spec['baseline']}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    held = _sets.load(data)
    held = held.take(np.sort(rng.permutation(len(held.x))[: spec["options"].get("items", 700)]))
    names, codes = np.unique(held.y.astype(str), return_inverse=True)
    wrong = rng.random(len(codes)) < spec["options"].get("share", 0.1)
    codes[wrong] = (codes[wrong] + rng.integers(1, len(names), int(wrong.sum()))) % len(names)
    collection = Collection.of({"text": [f"item {i}" for i in range(len(codes))], "label": names[codes].tolist()})
    vectors = {"document": held.x}
    found = make("find", spec["part"])(vectors, collection, seed=seed)
    seen = judged(vectors, collection, folds=FOLDS, seed=seed)
    proba = crossed(seen.x, seen.codes, seen.fold, CLASSIFY)
    own = proba[np.arange(len(proba)), seen.codes]
    return against(wrong[seen.rows], 1 - own, proba.argmax(axis=1) != seen.codes, found)
