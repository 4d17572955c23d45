"""Oracle: the loss of two batches by loops, with and without classes; what is turned; what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract.strategy import batches, small_run, viewed_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [
    {},
    {"classes": "one", "temperature": 0.2, "weight_temperature": 0.1, "dim": 7},
    {"classes": "items", "weight_temperature": 2.0},
]


def check(build, options):
    run = viewed_run()
    keys, n = run.data.keys, len(run.data)
    some = torch.where(keys.item % 7 == 3, -1, keys.target)
    for target, by in ((keys.target, "labels"), (some, "labels"), (torch.arange(n), "one")):
        run.data = replace(run.data, keys=Keys(keys.item, keys.group, target))
        part = build(**options)
        part.begin(run)
        assert part.projections[0].second.shape[0] == options.get("dim", 128)
        classes = options.get("classes", by)
        for rows in batches(run)[:2]:
            found = part.step(run, rows)["aggregation"].item()
            x = [_altered(part, run, rows, turn, view) for turn in range(4) for view in range(2)]
            assert found == pytest.approx(_loss(part, run, rows, x, classes, options), rel=1e-4)
            run.step += 1
    _turns(part, run)
    _refusals(build, options)


def _altered(part, run, rows, turn, view):
    x = run.data.query.batch(rows, seed=run.draw(f"0 {turn} {view}"))
    middle = run.data.query.x.mean(0)
    return x if turn == 0 else (x - middle) @ part.turned.rotation[turn - 1] + middle


def _loss(part, run, rows, x, classes, options):
    """Copies are (turn, view, place in the batch)."""
    T, W = options.get("temperature", 0.5), options.get("weight_temperature", 0.5)
    keys = run.data.keys
    copies, z = [], []
    for number, some in enumerate(x):
        vectors = part.projections[-1](run.towers["query"](some)).tolist()
        for place, row in enumerate(rows.tolist()):
            copies.append((number // 2, number % 2, row))
            z.append(vectors[place])

    def same(a, b):
        if a == b or classes == "one":
            return True
        y = keys.target[a].item(), keys.target[b].item()
        return classes == "labels" and y[0] == y[1] and y[0] >= 0

    def positive(i, j):
        (turn, _, a), (other, _, b) = copies[i], copies[j]
        if i == j or turn != other:
            return False
        return same(a, b) if turn == 0 else a == b

    def negative(i, j):
        (turn, _, a), (other, _, b) = copies[i], copies[j]
        if turn != other:
            return True
        if keys.group[a] == keys.group[b]:
            return False
        if turn == 0 and classes == "labels" and min(keys.target[a], keys.target[b]) < 0:
            return False
        return not positive(i, j)

    dot = [[sum(p * q for p, q in zip(u, v, strict=True)) for v in z] for u in z]
    every, total = range(len(z)), 0.0
    weight = [
        sum(math.exp(dot[j][k] / W) for k in every if positive(j, k)) if copies[j][0] == 0 else 1.0 for j in every
    ]
    for i in every:
        mine = [j for j in every if positive(i, j)]
        seen = sum(math.exp(dot[i][j] / T) for j in every if positive(i, j) or negative(i, j))
        parts = [weight[j] * -math.log(math.exp(dot[i][j] / T) / seen) for j in mine]
        total += sum(parts) / sum(weight[j] for j in mine)
    return total / len(z)


def _turns(part, run):
    for turn in range(3):
        r = part.turned.rotation[turn]
        assert torch.allclose(r @ r.T, torch.eye(len(r)), atol=1e-5)
    x = torch.arange(12.0).view(1, 1, 2, 6)[..., :2]
    assert part.turned(x, 2)[0, 0].tolist() == [[7.0, 6.0], [1.0, 0.0]]


def _refusals(build, options):
    with pytest.raises(PartError, match="two-tower"):
        build(**options).begin(small_run())
    with pytest.raises(PartError, match="more than 1 blocks"):
        build(**options, weaker="flip-crop").begin(viewed_run())
    run = viewed_run()
    run.data = replace(run.data, query=_Words(run.data.query), document=run.data.query)
    with pytest.raises(PartError, match="neither"):
        build(**options).begin(run)


class _Words:
    """What texts look like below an encoder: numbers of tokens."""

    def __init__(self, inputs):
        self.inputs = inputs

    def __len__(self):
        return len(self.inputs)

    def batch(self, rows, *, seed):
        return torch.full((len(rows), 2, 3), 1 if seed is None else seed + 2)
