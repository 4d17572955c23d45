"""Probabilities of nearest means, counts of the confident, and the largest differences, item by item."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"classify": "nearest-mean"}, {"classify": "nearest-mean", "folds": 4}]

CLASSES = 3


def world(seed, parts, n=120, wrong=15):
    """Three classes that overlap, some items labelled otherwise, one without; parts that `near` keeps whole."""
    rng = np.random.default_rng(seed)
    right = np.arange(n) % CLASSES
    x = 3.0 * rng.normal(size=(CLASSES, 4))[right] + rng.normal(size=(n, 4))
    label = right.copy()
    bad = rng.permutation(n)[:wrong]
    label[bad] = (label[bad] + 1) % CLASSES
    names = [None if i == 7 else f"kind {c}" for i, c in enumerate(label)]
    return x, names, (np.arange(n) // CLASSES) % parts, {f"i{i}" for i in bad}


def probabilities(x, label, part, rows):
    """{item: [classes]} by the means of the other parts and one variance for all classes and directions."""
    found = {}
    for i in rows:
        other = [j for j in rows if part[j] != part[i]]
        means = [sum(x[j] for j in other if label[j] == c) / sum(label[j] == c for j in other) for c in range(CLASSES)]
        spread = sum(float(((x[j] - means[label[j]]) ** 2).sum()) for j in other)
        variance = spread / ((len(other) - CLASSES) * x.shape[1])
        weights = [math.exp(-float(((x[i] - mean) ** 2).sum()) / (2 * variance)) for mean in means]
        found[i] = [w / sum(weights) for w in weights]
    return found


def check(build, options):
    folds = options.get("folds", 5)
    for seed in range(2):
        x, names, part, bad = world(seed, folds)
        n = len(x)
        ids = [f"i{i}" for i in range(n)]
        collection = Collection.of({"id": ids, "text": ["a text"] * n, "label": names, "near": part})
        found = build(**options)({"document": x}, collection, seed=seed)
        told = {row["item"]: row["to"] for row in found.proposed().rows()}
        assert len(set(told) & bad) >= 0.6 * len(bad) and len(set(told) - bad) <= len(bad)
        assert found.shown == {"label-errors": 0.5} and "i7" not in found.table["item"].to_pylist()
        if not options:
            continue
        rows = [i for i in range(n) if i != 7]
        label = [-1 if name is None else int(name[-1]) for name in names]
        p = probabilities(x, label, part, rows)
        least = [sum(p[i][c] for i in rows if label[i] == c) / sum(label[i] == c for i in rows) for c in range(CLASSES)]
        count = [[0.0] * CLASSES for _ in range(CLASSES)]
        for i in rows:
            sure = [c for c in range(CLASSES) if p[i][c] >= least[c]]
            if sure:
                best = sure[0] if len(sure) == 1 else max(range(CLASSES), key=lambda c, i=i: p[i][c])
                count[label[i]][best] += 1
        surely, perhaps = set(), set()
        for a in range(CLASSES):
            count[a][a] = max(1.0, count[a][a])
            own = [i for i in rows if label[i] == a]
            for b in range(CLASSES):
                if a != b:
                    wanted = count[a][b] / sum(count[a]) * len(own)
                    order = sorted(own, key=lambda i, a=a, b=b: p[i][a] - p[i][b])
                    # How the library rounds is its own affair.
                    surely |= set(order[: math.floor(wanted)])
                    perhaps |= set(order[: math.ceil(wanted)])
        likeliest = {i: max(range(CLASSES), key=lambda c, i=i: p[i][c]) for i in rows}
        surely, perhaps = ({f"i{i}" for i in one if likeliest[i] != label[i]} for one in (surely, perhaps))
        assert surely <= set(told) <= perhaps
        for row in found.rows():
            i = int(row["item"][1:])
            score = (1 - p[i][label[i]]) / 2
            wanted = score + 0.5 if row["item"] in told else min(score, 0.499)
            assert abs(row["score"] - wanted) < 1e-5
            assert row["to"] == (f"kind {likeliest[i]}" if row["item"] in told else "")
