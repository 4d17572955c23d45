"""Oracle: assignment, update and losses of several steps by loops; the gradient of the contrast; what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run, small_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [
    {},
    {"prototypes": 1},
    {"prototypes": 4, "k": 2, "temperature": 0.3, "epsilon": 0.2, "momentum": 0.5, "weight": 0.7,
     "prototype_temperature": 0.2},
    {"prototypes": 3, "weight": 0.0, "momentum": 0.0},
]  # fmt: skip


def check(build, options: dict) -> None:
    for run in (labelled_run(), small_run(), _partly_labelled()):
        part = build(**options)
        part.begin(run)
        count, m = options.get("prototypes", 6), options.get("momentum", 0.99)
        classes = sorted(set(run.data.keys.target.tolist()) - {-1})
        p = part.vectors.tolist()
        assert len(p) == count * len(classes)
        of = [c for c in classes for _ in range(count)]
        for rows in batches(run)[:2]:
            sides = ["query"] if run.data.same_space else ["query", "document"]
            z = [x for side in sides for x in run.encode(side, rows).tolist()]
            y = run.data.keys.target[torch.from_numpy(rows)].tolist() * len(sides)
            z, y = ([a for a, label in zip(some, y, strict=True) if label >= 0] for some in (z, y))
            losses = part.step(run, rows)
            part.after(run)
            first = _assign(z, p, options)
            places = [
                _largest(q, of, label, min(options.get("k", 5), count)) for q, label in zip(first, y, strict=True)
            ]
            u = _weights(first, places)
            for j in range(len(p)):
                total = sum(u[i][j] for i in range(len(z)))
                if total:
                    centre = [sum(u[i][j] * z[i][d] for i in range(len(z))) / total for d in range(len(p[j]))]
                    p[j] = _unit([m * a + (1 - m) * b for a, b in zip(p[j], centre, strict=True)])
            w = _weights(_assign(z, p, options), places)
            assert losses["mle"].item() == pytest.approx(_mle(z, p, w, options.get("temperature", 0.1)), rel=1e-4)
            weight = options.get("weight", 1.0)
            assert ("contrast" in losses) == (weight > 0)
            if weight:
                expected = weight * _contrast(p, of, options.get("prototype_temperature", 0.5))
                assert losses["contrast"].item() == pytest.approx(expected, rel=1e-4)
            assert torch.allclose(part.vectors, torch.tensor(p), atol=1e-5)
            run.step += 1
    _gradients(build, options)
    _refusals(build, options)


def _partly_labelled():
    """One item in five has no label."""
    run = labelled_run()
    keys = run.data.keys
    run.data = replace(run.data, keys=Keys(keys.item, keys.group, torch.where(keys.item % 5 == 2, -1, keys.target)))
    return run


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def _unit(a):
    length = math.sqrt(_dot(a, a))
    return [x / length for x in a]


def _assign(z, p, options):
    """Three times every prototype's share of the items made equal, then every item's sum 1."""
    table = [[math.exp(_dot(x, c) / options.get("epsilon", 0.05)) for c in p] for x in z]
    for _ in range(3):
        sums = [sum(row[j] for row in table) for j in range(len(p))]
        table = [[row[j] / sums[j] for j in range(len(p))] for row in table]
        table = [[a / sum(row) for a in row] for row in table]
    return table


def _largest(q, of, label, k):
    mine = [j for j in range(len(of)) if of[j] == label]
    return sorted(mine, key=lambda j: -q[j])[:k]


def _weights(table, places):
    found = []
    for q, mine in zip(table, places, strict=True):
        total = sum(q[j] for j in mine)
        found.append([q[j] / total if j in mine else 0.0 for j in range(len(q))])
    return found


def _mle(z, p, w, temperature):
    total = 0.0
    for x, row in zip(z, w, strict=True):
        s = [_dot(x, c) / temperature for c in p]
        total += math.log(sum(math.exp(a) for a in s)) - sum(a * b for a, b in zip(row, s, strict=True))
    return total / len(z)


def _contrast(p, of, temperature):
    total = 0.0
    for j in range(len(p)):
        s = {i: _dot(p[i], p[j]) / temperature for i in range(len(p)) if i != j}
        mates = [s[i] for i in s if of[i] == of[j]]
        total += math.log(sum(math.exp(a) for a in s.values())) - (sum(mates) / len(mates) if mates else 0.0)
    return total / len(p)


def _gradients(build, options):
    """Both losses reach the towers; the prototypes are no parameters."""
    run = labelled_run()
    part = build(**options)
    part.begin(run)
    assert not list(part.parameters())
    losses = part.step(run, batches(run)[0])
    for loss in losses.values():
        (grad,) = torch.autograd.grad(loss, [run.towers["query"].map.weight], retain_graph=True)
        assert grad.abs().sum() > 0


def _refusals(build, options):
    run = labelled_run()
    keys, n = run.data.keys, len(run.data)
    for target, said in (
        (torch.zeros(n), "have 1"), (-torch.ones(n), "have 0"), (torch.arange(n), "appears once"),
    ):  # fmt: skip
        run.data = replace(run.data, keys=Keys(keys.item, keys.group, target.long()))
        with pytest.raises(PartError, match=said):
            build(**options).begin(run)
