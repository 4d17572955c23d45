"""Layouts by hand, surplus by counting, small trees by the library; quiet where rules are right by chance."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError

CASES: list[dict] = [
    {}, {"chain": 2}, {"surely": 0.9, "folds": 4}, {"classify": "nearest-mean"}, {"position": True, "folds": 3},
]  # fmt: skip
PEOPLE = ("Anna Li", "Ben", "Carl", "Dora", "Eve")


def pictures(seed, share, n=90):
    """Pictures of two or three people and sometimes a passer-by; a share of the captions goes from left to right."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        m = rng.choice([2, 3])
        boxes = [[rng.uniform(0, 300), 0.0, rng.uniform(10, 90), rng.uniform(10, 90)] for _ in range(m + 1)]
        names = rng.sample(PEOPLE, m)
        order = list(range(m))
        rng.shuffle(order)
        biased = rng.random() < share
        if biased:
            order.sort(key=lambda b: boxes[b][0])
        told = [names[b] for b in order]
        if not biased:
            caption = " looks at ".join(told)
        elif rng.random() < 0.6:
            caption = " and ".join([", ".join(told[:-1]), told[-1]]) + " in Paris"
        else:
            caption = f"{told[0]} greets " + " beside ".join(told[1:])
        extra = rng.random() < 0.3
        rows.append((boxes[: m + extra], [*names, None][: m + extra], caption, order, biased))
    return rows


def collection_of(rows):
    sides = ("x", "y", "width", "height")
    regions = [
        [dict(zip(sides, box, strict=True)) | {"name": name} for box, name in zip(row[0], row[1], strict=True)]
        for row in rows
    ]
    return Collection.of({
        "image": [f"{i}.png" for i in range(len(rows))], "text": [row[2] for row in rows], "regions": regions,
    })  # fmt: skip


def rules_of(row):
    """What each rule says of the boxes of a picture, and the chance to be right."""
    boxes, _, _, order, _ = row
    m, k = len(boxes), len(order)
    big = sorted(range(m), key=lambda b: -boxes[b][2] * boxes[b][3])
    left = sorted(range(m), key=lambda b: boxes[b][0])
    middle = (min(b[0] for b in boxes) + max(b[0] + b[2] for b in boxes)) / 2
    near = min(range(m), key=lambda b: abs(boxes[b][0] + boxes[b][2] / 2 - middle))
    told = [big[:1], big[:k], left[:k], sorted(big[:k], key=lambda b: boxes[b][0]), [near]]
    every = [list(itertools.permutations(range(m), len(one))) for one in told]
    return [order[: len(one)] == one for one in told], [1 / len(ways) for ways in every]


def z_of(solved, chance, rows):
    if not rows:
        return 0.0
    return sum(solved[i] - chance[i] for i in rows) / math.sqrt(sum(chance[i] * (1 - chance[i]) for i in rows))


def limit_of(surely, rules):
    low, high, wanted = -10.0, 10.0, 1 - (1 - surely) / rules
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + math.erf(middle / math.sqrt(2))) / 2 < wanted else (low, middle)
    return low


def check(build, options):
    _layouts(build, options)
    _labels(build, options)


def _layouts(build, options):
    limit = limit_of(options.get("surely", 0.999), 5)
    for seed in range(3):
        rows = pictures(seed, 0.6)
        found = build(**options)({}, collection_of(rows), seed=seed)
        held = found.rows()
        assert len(held) == len(rows) and found.shown == {"blind-solvable": 0.5}
        poor = []
        for row in rows:
            words = set(row[2].replace(",", " ").split())
            listed = " and " in row[2]
            poor.append(listed or not words & {"looks", "greets"})
        solved, chance = (list(zip(*each, strict=True)) for each in zip(*map(rules_of, rows), strict=True))
        kept = [i for i in range(len(rows)) if held[i]["score"] < 0.5]
        taken = [i for i in range(len(rows)) if held[i]["score"] >= 0.5 and not poor[i]]
        assert all(z_of(s, c, kept) < limit for s, c in zip(solved, chance, strict=True))
        assert all(held[i]["score"] >= 0.75 for i in range(len(rows)) if poor[i])
        left = [i for i in range(len(rows)) if not poor[i]]
        first = max(range(5), key=lambda r: z_of(solved[r], chance[r], left))
        if z_of(solved[first], chance[first], left) >= limit:
            c = sum(chance[first][i] for i in left) / len(left)
            least = (sum(solved[first][i] for i in left) - c * len(left)) / (1 - c)
            named = [i for i in taken if held[i]["reason"].split(";")[0].endswith(RULES[first])]
            assert len(named) == math.ceil(least) and all(solved[first][i] for i in named)
            strong = [r for r in range(5) if z_of(solved[r], chance[r], left) >= limit]
            many = [sum(solved[r][i] for r in strong) for i in range(len(rows))]
            spared = [many[i] for i in left if solved[first][i] and i not in taken]
            assert not spared or max(spared) <= min(many[i] for i in named)
        else:
            assert not taken
        assert {row["action"] for row in held} == {"drop"}
    assert options or any(row[4] and i in taken for i, row in enumerate(rows))
    fair = build(**options)({}, collection_of(pictures(7, 0.0)), seed=0)
    assert not len(fair.proposed())
    categories = [(boxes, [n and n.lower() for n in names], text, *_) for boxes, names, text, *_ in pictures(1, 0.9)]
    with pytest.raises(DataError, match="labels"):
        build(**options)({}, collection_of(categories), seed=0)


RULES = (
    "the first name is the largest box", "the names go from the largest box down", "the names go from left to right",
    "the names go from left to right through the largest boxes", "the first name is the box in the middle",
)  # fmt: skip


def _labels(build, options):
    """Labels that follow from the length of a text in half of the items, and by `position` from the place."""
    rng = np.random.default_rng(4)
    n = 160
    label = rng.integers(0, 2, n)
    length = np.where(rng.random(n) < 0.7, label, rng.integers(0, 2, n))
    texts = ["word " * int(3 + 6 * long + rng.integers(0, 3)) for long in length]
    collection = Collection.of({"text": texts, "label": [f"kind {c}" for c in label]})
    found = build(**options)({}, collection, seed=1)
    held = found.rows()
    fold = folds_of(np.arange(n), options.get("folds", 5), np.random.default_rng(1))
    x = np.array([[len(text), len(text.split())] for text in texts], float)
    proba = np.zeros((n, 2))
    for f in set(fold.tolist()):
        proba[fold == f] = _learnt(x[fold != f], label[fold != f], x[fold == f], options)
    right = proba.argmax(1) == label
    c = max(np.mean(label), 1 - np.mean(label))
    expected = math.ceil((right.sum() - c * n) / (1 - c))
    gain = [proba[i, label[i]] - np.mean(label == label[i]) for i in range(n)]
    told = [i for i in range(n) if held[i]["score"] >= 0.5]
    assert len(told) == expected and all(right[i] for i in told)
    spared = [gain[i] for i in range(n) if right[i] and i not in told]
    # Where a second rule is right of some items, those go first.
    assert options.get("position") or not spared or max(spared) <= min(gain[i] for i in told) + 1e-6
    assert all(held[i]["action"] == "look" and "length of the text" in held[i]["reason"] for i in told)
    mixed = Collection.of({"text": texts, "label": [f"kind {c}" for c in rng.permutation(label)]})
    assert not len(build(**options)({}, mixed, seed=1).proposed())
    sorted_ = Collection.of({"text": ["a word"] * n, "label": [f"kind {c}" for c in np.sort(label)]})
    if not options.get("position"):
        with pytest.raises(DataError, match="nothing to guess"):
            build(**options)({}, sorted_, seed=1)
    else:
        assert "position" in build(**options)({}, sorted_, seed=1).proposed().rows()[0]["reason"]


def _learnt(x, y, asked, options):
    if options.get("classify") == "nearest-mean":
        means = [x[y == c].mean(0) for c in (0, 1)]
        spread = sum(((x[y == c] - means[c]) ** 2).sum() for c in (0, 1)) / ((len(x) - 2) * x.shape[1])
        p = np.exp(-np.stack([((asked - mean) ** 2).sum(1) for mean in means], 1) / (2 * spread))
        return p / p.sum(1, keepdims=True)
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=6, min_samples_leaf=5, random_state=0).fit(x, y).predict_proba(asked)
