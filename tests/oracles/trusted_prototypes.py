"""Discriminant directions, prototypes and soft targets, fold by fold and item by item."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [
    {},
    {"classify": "nearest-mean", "rounds": 1},
    {"classify": "nearest-mean", "rounds": 3, "momentum": 0.95, "temperature": 0.3, "classifier": 0.3},
    {"classify": "nearest-mean", "sure": 0.6, "dim": 3, "ridge": 2.0, "folds": 3},
]

CLASSES, SHOTS = 3, 3


def world(seed, parts, n=120):
    """Three classes; some items labelled otherwise, some of a further place; the first ones of each class trusted."""
    rng = np.random.default_rng(seed)
    right = np.arange(n) % CLASSES
    middle = 2.5 * rng.normal(size=(CLASSES + 1, 5)) + 1
    x = middle[right] + rng.normal(size=(n, 5))
    label, bad = right.copy(), SHOTS * CLASSES + rng.permutation(n - SHOTS * CLASSES)
    label[bad[:12]] = (label[bad[:12]] + 1) % CLASSES
    x[bad[12:20]] = middle[CLASSES] + rng.normal(size=(8, 5))
    return x, label, (np.arange(n) // CLASSES) % parts, bad[:20]


def principal(x, dim):
    z = np.array([row / math.hypot(*row) for row in x])
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    values, turn = np.linalg.eigh(sum(np.outer(row, row) for row in z) / len(z))
    best = [j for j in np.argsort(-values) if values[j] > 1e-10][:dim]
    return np.array([[float(row @ turn[:, j]) / math.sqrt(values[j]) for j in best] for row in z])


def mean(rows):
    return sum(rows) / len(rows)


def unit(row):
    return row / math.hypot(*row)


def likely(logits):
    e = [math.exp(v - max(logits)) for v in logits]
    return [v / sum(e) for v in e]


def nearest_mean(u, now, rest):
    """Chances of an item by means and one variance."""
    middle = [mean([u[j] for j in rest if now[j] == c]) for c in range(CLASSES)]
    variance = sum(float(((u[j] - middle[now[j]]) ** 2).sum()) for j in rest) / ((len(rest) - CLASSES) * u.shape[1])
    return lambda row: likely([-float(((row - m) ** 2).sum()) / (2 * variance) for m in middle])


def projection(u, now, rest, ridge):
    """To the discriminant directions: cosines as the inverse of the scatter within classes measures them."""
    middle = [mean([u[j] for j in rest if now[j] == c]) for c in range(CLASSES)]
    within = mean([np.outer(u[j] - middle[now[j]], u[j] - middle[now[j]]) for j in rest])
    within = within + ridge * np.trace(within) / len(within) * np.eye(len(within))
    whole = mean([u[j] for j in rest])
    lower = np.linalg.inv(np.linalg.cholesky(within))
    spans = np.array([lower @ (m - whole) for m in middle])
    values, turn = np.linalg.eigh(spans.T @ spans)
    keep = turn[:, values > 1e-10 * values.max()]
    return lambda row: unit(keep.T @ (lower @ (row - whole)))


def check(build, options):
    folds, rounds = options.get("folds", 5), options.get("rounds", 3)
    alpha, hot = options.get("classifier", 0.5), options.get("temperature", 0.1)
    for seed in range(2):
        x, label, part, bad = world(seed, folds)
        n = len(x)
        ours = [i < SHOTS * CLASSES for i in range(n)]
        collection = Collection.of({
            "text": ["a text"] * n, "label": [f"kind {c}" for c in label], "near": part, "trusted": ours,
        })  # fmt: skip
        found = build(**options)({"document": x}, collection, seed=seed)
        told = {int(row["item"]) for row in found.proposed().rows()}
        assert len(told & set(bad.tolist())) >= 10 and len(told - set(bad.tolist())) <= 20
        assert [int(row["item"]) for row in found.rows()] == [i for i in range(n) if not ours[i]]
        if not options:
            continue
        u, now, kept = principal(x, options.get("dim", 64)), list(label), [True] * n
        for turn in range(rounds):
            soft = [None] * n
            for f in range(folds):
                others = [j for j in range(n) if kept[j] and part[j] != f and not ours[j]]
                rest = sorted([*others, *(j for j in range(n) if ours[j])])
                chances, project = nearest_mean(u, now, rest), projection(u, now, rest, options.get("ridge", 0.1))
                centre, phi = [], []
                for c in range(CLASSES):
                    few = mean([project(u[j]) for j in range(n) if ours[j] and now[j] == c])
                    many = [project(u[j]) for j in others if now[j] == c]
                    weight = options.get("momentum", 0.999) ** (turn * len(many))
                    centre.append(unit(weight * few + (1 - weight) * mean(many)))
                    away = sum(math.hypot(*(z - centre[c])) for z in many)
                    phi.append(away / (len(many) * math.log(len(many) + 10)))
                phi = [p * hot / mean(phi) if turn else hot for p in phi]
                for i in (i for i in range(n) if part[i] == f):
                    z = project(u[i])
                    near = likely([float(z @ k) / p for k, p in zip(centre, phi, strict=True)])
                    soft[i] = [alpha * a + (1 - alpha) * b for a, b in zip(chances(u[i]), near, strict=True)]
            for i in (i for i in range(n) if not ours[i]):
                best = max(range(CLASSES), key=lambda c, i=i: soft[i][c])
                surely = soft[i][best] > options.get("sure", 0.8)
                now[i] = best if surely else label[i]
                kept[i] = surely or soft[i][label[i]] > 1 / CLASSES
        for row in found.rows():
            i = int(row["item"])
            action = "drop" if not kept[i] else "relabel" if now[i] != label[i] else "look"
            score = (1 - soft[i][label[i]]) / 2
            assert abs(row["score"] - (min(score, 0.499) if action == "look" else score + 0.5)) < 1e-4
            assert (row["action"], row["to"]) == (action, f"kind {now[i]}" if action == "relabel" else "")
