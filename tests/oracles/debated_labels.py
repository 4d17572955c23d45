"""Debates item by item: trust by counting, neighbours by sorting, the judge by multiplying; settled where all agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.debate import votes_of
from tellapart.core.errors import DataError

CASES: list[dict] = [
    {}, {"k": 3, "rounds": 1}, {"rounds": 4, "sure": 0.6}, {"annotators": "nearest-mean", "k": 5}, {"sure": 0.99},
]  # fmt: skip
CLASSES = ("ant", "bee", "cat")


def world(seed, n=100):
    """Three kinds; four annotators of 90, 75, 60 and 85 of 100 right, the last of whom says little."""
    rng = np.random.default_rng(seed)
    right = np.arange(n) % 3
    x = 2.0 * rng.normal(size=(3, 5))[right] + rng.normal(size=(n, 5))
    votes = []
    for rate, said in ((0.9, 1.0), (0.75, 0.9), (0.6, 0.9), (0.85, 0.2)):
        vote = np.where(rng.random(n) < rate, right, rng.integers(0, 3, n))
        votes.append([int(v) if rng.random() < said else None for v in vote])
    label = [int(c) for c in np.where(rng.random(n) < 0.8, right, rng.integers(0, 3, n))]
    return x, votes, label, right


def check(build, options):
    for seed in range(3):
        x, votes, label, _ = world(seed)
        n = len(x)
        columns = {
            f"vote_{a}": [None if v is None else CLASSES[v] for v in column]
            for a, column in zip((1, 2, 3, 10), votes, strict=True)
        }
        collection = Collection.of({
            "text": ["a text"] * n, "label": [CLASSES[c] for c in label], "near": np.arange(n) // 2, **columns,
        })  # fmt: skip
        found = build(**options)({"document": x}, collection, seed=seed)
        if options.get("annotators"):
            votes = [*votes, _mean_votes(x, votes, collection.codes("near")[0], seed)]
        wanted = _debated(x, votes, options)
        rows = {int(row["item"]): row for row in found.rows()}
        assert len(rows) == n - sum(all(column[i] is None for column in votes) for i in range(n))
        for i, row in rows.items():
            side, p, settled = wanted[i]
            dispute = len({column[i] for column in votes} - {None}) > 1
            if settled and side != label[i]:
                assert (row["action"], row["to"]) == ("relabel", CLASSES[side])
                assert row["score"] == pytest.approx((1 + p) / 2, abs=1e-5)
            elif dispute and not settled:
                assert row["action"] == "look" and row["score"] == pytest.approx(1 - p / 2, abs=1e-5)
                assert f"the judge says {CLASSES[side]} ({p:.2f}" in row["reason"]
            else:
                assert row["score"] == pytest.approx(min((1 - p) / 2, 0.499), abs=1e-5)
    _refused(build, options)


def _debated(x, votes, options):
    """{item: (label, probability, settled)}."""
    k, rounds, sure = options.get("k", 10), options.get("rounds", 2), options.get("sure", 0.9)
    n = len(x)
    centred = x - x.mean(0)
    u = [row / math.hypot(*row) for row in centred]
    weight = []
    for a, column in enumerate(votes):
        good, asked = 1, 2
        for i in range(n):
            others = {votes[b][i] for b in range(len(votes)) if b != a} - {None}
            if column[i] is not None and len(others) == 1:
                asked += 1
                good += column[i] in others
        trust = min(0.99, max(1 / 3 + 0.01, good / asked))
        weight.append(math.log(2 * trust / (1 - trust)))
    found = {}
    said = [[column[i] for column in votes if column[i] is not None] for i in range(n)]
    held = {i: one[0] for i, one in enumerate(said) if len(one) > 1 and len(set(one)) == 1}
    agreed = set(held)

    def judged(i):
        """(label, probability) by what is held now."""
        sides = sorted(set(said[i]))
        near = [j for j in held if j // 2 != i // 2]
        near.sort(key=lambda j: (-sum(a * b for a, b in zip(u[i], u[j], strict=True)), j))
        heard = [held[j] for j in near[:k]]
        share = [max(0.001, sum(c == side for c in held.values()) / len(held)) for side in range(3)]
        chance = []
        for side in range(3):
            prior = (heard.count(side) + len(sides) * share[side] / sum(share)) / (len(heard) + len(sides))
            own = [w for w, column in zip(weight, votes, strict=True) if column[i] == side]
            chance.append(prior * math.prod(math.exp(w) for w in own))
        best = max(sides, key=lambda side: chance[side])
        return best, chance[best] / sum(chance)

    for _ in range(rounds):
        now = {}
        for i in range(n):
            if i in held or len(set(said[i])) < 2:
                continue
            best, p = judged(i)
            found[i] = (best, p, p >= sure)
            if p >= sure:
                now[i] = best
        held |= now
        if not now:
            break
    for i in range(n):
        if len(set(said[i])) == 1:
            best, p = judged(i)
            found[i] = (best, p, i in agreed or p >= sure)
    return found


def _mean_votes(x, votes, near, seed):
    """Nearest means of what most say of the items of other folds, pairs kept together."""
    from tellapart.core.crossfit import folds_of

    n = len(x)
    most = []
    for i in range(n):
        said = [column[i] for column in votes if column[i] is not None]
        most.append(max(range(3), key=lambda c, said=said: (said.count(c), -c)) if said else None)
    rows = [i for i in range(n) if most[i] is not None]
    fold = dict(zip(rows, folds_of(near[rows], 5, np.random.default_rng(seed)), strict=True))
    vote = [None] * n
    for i in rows:
        own = [[x[j] for j in rows if fold[j] != fold[i] and most[j] == c] for c in range(3)]
        vote[i] = min(range(3), key=lambda c, own=own, i=i: float(((x[i] - np.mean(own[c], axis=0)) ** 2).sum()))
    return vote


def _refused(build, options):
    x, votes, *_ = world(0)
    named = {f"vote_{a}": [CLASSES[v or 0] for v in votes[0]] for a in (1, 2)}
    texts = {"text": ["a text"] * len(x)}
    with pytest.raises(DataError, match="two annotators"):
        build(**options)({"document": x}, Collection.of(texts | {"vote_1": named["vote_1"]}), seed=0)
    with pytest.raises(DataError, match="nothing to settle"):
        same = {name: ["ant"] * len(x) for name in named}
        build(**options)({"document": x}, Collection.of(texts | same), seed=0)
    assert votes_of([lambda items: [len(i) for i in items], lambda items: items], ["a", "bc"]) == [[1, 2], ["a", "bc"]]
    with pytest.raises(DataError, match="asked about 2 items and answered 1"):
        votes_of([lambda items: items[:1]], ["a", "bc"])
