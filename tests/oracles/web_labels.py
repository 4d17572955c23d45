"""Nearest means, mixtures and separating lines, item by item, in turns."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [
    {}, {"classify": "nearest-mean", "dim": 3, "rounds": 2}, {"classify": "nearest-mean", "noisy": 0.6, "gamma": 3.0},
]  # fmt: skip

CLASSES = 3


def world(seed, parts, n=120):
    """Three classes; some items labelled otherwise, some of a further place; parts that `near` keeps whole."""
    rng = np.random.default_rng(seed)
    right = np.arange(n) % CLASSES
    middle = 3.0 * rng.normal(size=(CLASSES + 1, 5)) + 1
    x = middle[right] + rng.normal(size=(n, 5))
    label, bad = right.copy(), rng.permutation(n)
    flipped, foreign = bad[:15], bad[15:30]
    label[flipped] = (label[flipped] + 1) % CLASSES
    x[foreign] = middle[CLASSES] + rng.normal(size=(15, 5))
    return x, label, (np.arange(n) // CLASSES) % parts, flipped, foreign


def directions(x, dim):
    """Whitened principal directions, by the eigenvectors of the covariance."""
    z = np.array([row / math.hypot(*row) for row in x])
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    values, turn = np.linalg.eigh(sum(np.outer(row, row) for row in z) / len(z))
    best = [j for j in np.argsort(-values) if values[j] > 1e-10][:dim]
    return np.array([[float(row @ turn[:, j]) / math.sqrt(values[j]) for j in best] for row in z])


def means(x, label, part, kept):
    """[n][classes] by the kept items of other parts, one variance."""
    found = []
    for i in range(len(x)):
        other = [j for j in range(len(x)) if part[j] != part[i] and kept[j]]
        middle = [sum(x[j] for j in other if label[j] == c) / sum(label[j] == c for j in other) for c in range(CLASSES)]
        spread = sum(float(((x[j] - middle[label[j]]) ** 2).sum()) for j in other)
        variance = spread / ((len(other) - CLASSES) * x.shape[1])
        away = [float(((x[i] - m) ** 2).sum()) / (2 * variance) for m in middle]
        weights = [math.exp(min(away) - a) for a in away]
        found.append([w / sum(weights) for w in weights])
    return found


def _spread(s, x, m):
    return sum(a * (v - m) ** 2 for a, v in zip(s, x, strict=True)) / sum(s)


def mixture(losses):
    """Chance of the smaller of two normal distributions, by expectation-maximisation."""
    low, high = min(losses), max(losses)
    x = [(v - low) / (high - low) for v in losses]
    cut, last = 0.5, None
    while cut != last:
        last, upper = cut, [v for v in x if v > cut]
        lower = [v for v in x if v <= cut]
        cut = (sum(upper) / len(upper) + sum(lower) / len(lower)) / 2
    share = [float(v <= cut) for v in x]
    before = -math.inf
    for _ in range(200):
        fitted = []
        for s in (share, [1 - v for v in share]):
            m = sum(a * v for a, v in zip(s, x, strict=True)) / sum(s)
            fitted.append(
                (sum(s) / len(x), m, sum(a * (v - m) ** 2 for a, v in zip(s, x, strict=True)) / sum(s) + 5e-4)
            )
        share, total = [], 0.0
        for v in x:
            p = [math.log(w) - 0.5 * (math.log(2 * math.pi * s) + (v - m) ** 2 / s) for w, m, s in fitted]
            both = max(p) + math.log(sum(math.exp(q - max(p)) for q in p))
            share.append(math.exp(p[0] - both))
            total += both / len(x)
        if total - before < 1e-6:
            break
        before = total
    (_, m0, _), (_, m1, _) = fitted
    fixed = []
    for i, v in enumerate(x):
        beyond = [share[j] for j, u in enumerate(x) if (v <= u <= m0) or (m1 <= u <= v)]
        fixed.append(max([share[i], *beyond]) if v <= m0 else min([share[i], *beyond]) if v >= m1 else share[i])
    return fixed


def line(x, clean, part):
    """Chance of clean by a line through the other parts, by scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    found = [1.0] * len(x)
    for f in set(part.tolist()):
        other = [j for j in range(len(x)) if part[j] != f]
        truth = [clean[j] for j in other]
        if min(truth.count(True), truth.count(False)) >= 2:
            fitted = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=10_000).fit(x[other], truth)
            for i in np.flatnonzero(part == f):
                found[i] = float(fitted.predict_proba(x[i : i + 1])[0, 1])
    return found


def check(build, options):
    for seed in range(2):
        x, label, part, flipped, foreign = world(seed, options.get("folds", 5))
        n = len(x)
        collection = Collection.of({"text": ["a text"] * n, "label": [f"kind {c}" for c in label], "near": part})
        found = build(**options)({"document": x}, collection, seed=seed)
        told = {int(row["item"]): row for row in found.proposed().rows()}
        hits = sum(i in told for i in [*flipped, *foreign])
        assert hits >= 15 and len(told) - hits <= hits, "it finds most of what is wrong, and little else"
        if not options:
            continue
        limit, gamma = options.get("noisy", 0.95), options.get("gamma", 2.0)
        u = directions(x, options.get("dim", 64))
        kept, views = [True] * n, []
        for turn in range(2 * options.get("rounds", 1) + 2):
            views.append(means(u, label, part, kept))
            small = mixture([-math.log(max(p[c], 1e-6)) for p, c in zip(views[-1], label, strict=True)])
            clean = [1 - s <= limit for s in small]
            by_line = line(u, clean, part)
            kept = clean if turn % 2 == 0 else [b >= 0.5 for b in by_line]
            for c in range(CLASSES):
                if sum(k for k, own in zip(kept, label, strict=True) if own == c) < 5:
                    kept = [k or own == c for k, own in zip(kept, label, strict=True)]
        noisy = [i for i in range(n) if not clean[i] and all(max(p[i]) > p[i][label[i]] for p in (views[0], views[-1]))]
        assert set(told) == set(noisy)
        sharp, pseudo = {}, []
        for i in noisy:
            q = [((a + b) / 2) ** gamma for a, b in zip(views[-1][i], views[-2][i], strict=True)]
            sharp[i] = [v / sum(q) for v in q]
            pseudo.append(-sum(v * math.log(max(p, 1e-6)) for v, p in zip(sharp[i], views[-1][i], strict=True)))
        sure = dict(zip(noisy, mixture(pseudo), strict=True))
        for row in found.rows():
            i = int(row["item"])
            if i not in told:
                assert abs(row["score"] - min(limit, 1 - small[i])) < 1e-4
                continue
            assert abs(row["score"] - (1 - small[i])) < 1e-4
            best = max(range(CLASSES), key=lambda c, i=i: sharp[i][c])
            again = sure[i] > 0.5 and by_line[i] >= 0.5 and best != label[i]
            assert (row["action"], row["to"]) == (("relabel", f"kind {best}") if again else ("drop", ""))
