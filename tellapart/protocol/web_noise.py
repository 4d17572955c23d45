"""Wrong labels of two kinds, as the web has them: of another class, and of no class at all; and what is gained.

Data: what `protocol._sets` gives frozen features and labels of (`fashion`, `wordnet`, `mnist`, `digits`). Of the
classes, drawn by the seed, 60% are the collection, and the others are what is foreign to it. A `share` of the items is
wrong: half have another label, half are foreign with a label drawn at random.

Baseline `small-loss`: the same classifier on the same folds and as many turns, what is kept divided by losses alone;
what it calls noisy is dropped, by the same rule, and classes are kept whole by it.

Metrics, of pairs (baseline, variant):
    accuracy: of a linear head fitted on what is kept, with labels as proposed, on clean test items of the known
        classes; its penalty is chosen on clean validation items, for each arm.
    AUROC, precision, recall: of the scores and of what is proposed, against what was changed.
    accuracy after the line alone; AUROC of the line alone, foreign: small-loss beside the linear separation that was
        fitted on its division, in the first turn: does it tell foreign items from right ones, and does that help.
    accuracy, beside label-errors; accuracy, beside the labels as they are: these two beside the variant.

Options (`[options]` of the spec):
    share: how many of the items are wrong (0.3).
    items: how many items are looked at, at most (600).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.crossfit import FEWEST, crossed, judged
from tellapart.core.divided import clean_probability, principal, separated
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol.find import Figures, against, auroc

FOLDS, TURNS, NOISY, DIM, CLASSIFY = 5, 4, 0.95, 64, "logistic-regression(c=0.1)"
KNOWN, PENALTIES = 0.6, (0.01, 0.1, 1.0)
HELD_OUT = (300, 1000)


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "small-loss":
        raise DataError(f"labels from the web are compared with small-loss, not with {spec['baseline']}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    x, codes, right, held = world(data, rng, **spec["options"])
    n, wrong = len(x), codes != right
    both = principal(np.concatenate([x, held[0]]), DIM)
    vectors = {"document": both[:n]}
    names = [f"kind {c}" for c in codes]
    collection = Collection.of({"text": [f"item {i}" for i in range(n)], "label": names})
    seen = judged(vectors, collection, folds=FOLDS, seed=seed)
    if len(seen.rows) < n:
        raise DataError(f"{data} has too few items of some class for this protocol")
    u, rows, kept = principal(both[:n], DIM), np.arange(n), None
    line, small, noisy = np.ones(n), np.ones(n), np.ones(n, bool)
    for turn in range(TURNS):
        proba = crossed(u, seen.codes, seen.fold, CLASSIFY, kept)
        small = clean_probability(-np.log(np.maximum(proba[rows, seen.codes], 1e-6)))
        clean = 1 - small <= NOISY
        kept = clean | (np.bincount(seen.codes, clean) < FEWEST)[seen.codes]
        if turn == 0:
            line = separated(u, clean, seen.fold)
        if turn in (0, TURNS - 1):
            noisy &= proba.argmax(axis=1) != seen.codes
    noisy &= 1 - small > NOISY

    valid = len(held[0]) * HELD_OUT[0] // sum(HELD_OUT)

    def taught(rows: np.ndarray, labels: np.ndarray) -> float:
        return accuracy(both[:n][rows], labels[rows], both[n:], held[1], valid)

    def cleaned(found: Findings) -> float:
        return taught(*applied(found, codes))

    found = make("find", spec["part"])(vectors, collection, seed=seed)
    ours, plain = cleaned(found), taught(~noisy, codes)
    clean_or_foreign = ~wrong | (right < 0)
    lines = (1 - small, 1 - line)
    return {
        "accuracy": (plain, ours),
        **{name: pair for name, pair in against(wrong, 1 - small, noisy, found).items()},
        "accuracy after the line alone": (plain, taught(line >= 0.5, codes)),
        "AUROC of the line alone, foreign": tuple(
            auroc((right < 0)[clean_or_foreign], each[clean_or_foreign]) for each in lines
        ),
        "accuracy, beside label-errors": (cleaned(make("find", "label-errors")(vectors, collection, seed=seed)), ours),
        "accuracy, beside the labels as they are": (taught(np.ones(n, bool), codes), ours),
    }


def world(
    data: str, rng: np.random.Generator, *, share: float = 0.3, items: int = 600
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Features, labels, right labels (-1: of no class), and clean items that are held out with their labels."""
    whole = _sets.load(data)
    y = np.unique(whole.y.astype(str), return_inverse=True)[1]
    order = rng.permutation(int(y.max()) + 1)
    number = np.full(len(order), -1)
    classes = round(KNOWN * len(order))
    number[order[:classes]] = np.arange(classes)
    y = number[y]
    rows, codes, rest = spoilt(y, min(items, (y >= 0).sum() // 2), share, rng)
    rest = rest[: sum(HELD_OUT)]
    return whole.x[rows], codes, y[rows], (whole.x[rest], y[rest])


def spoilt(y: np.ndarray, n: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n rows, their labels of which a share is wrong, and the other rows of known classes.

    Half of the wrong ones have another label, half are rows of no class (y of -1) with a label drawn at random.
    """
    known, foreign = (rng.permutation(np.flatnonzero(each)) for each in (y >= 0, y < 0))
    each, classes = round(n * share / 2), int(y.max()) + 1
    rows = np.concatenate([known[: n - each], foreign[:each]])
    codes = y[rows]
    codes[-each:] = rng.integers(0, classes, each)
    flipped = rng.permutation(n - each)[:each]
    codes[flipped] = (codes[flipped] + rng.integers(1, classes, each)) % classes
    return rows, codes, known[n - each :]


def applied(found: Findings, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are kept, and the labels of all, if everything that is proposed is accepted."""
    kept, labels = np.ones(len(codes), bool), codes.copy()
    for row in found.proposed().rows():
        place = int(row["item"])
        if row["action"] == "drop":
            kept[place] = False
        elif row["action"] == "relabel":
            labels[place] = int(str(row["to"]).split()[1])
    return kept, labels


def accuracy(train: np.ndarray, labels: np.ndarray, fresh: np.ndarray, right: np.ndarray, valid: int) -> float:
    """Of a linear head, its penalty chosen on the first `valid` fresh rows, on the others."""
    train, fresh, best, test = train.astype(np.float32), fresh.astype(np.float32), -1.0, 0.0
    for c in PENALTIES:
        hits = make("classify", "logistic-regression", c=c).fit(train, labels).predict(fresh) == right
        if hits[:valid].mean() > best:
            best, test = float(hits[:valid].mean()), float(hits[valid:].mean())
    return test
