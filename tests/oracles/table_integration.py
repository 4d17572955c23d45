"""Both losses by masks of their own, the step along the gradient row by row, and whom a label joins."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run, small_run, viewed_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [{}, {"radius": 1.5, "weight": 0.4}, {"weight": 0.0, "views": 3}, {"views": 3, "radius": 0.05}]
TEMPERATURE = 0.2


def check(build, options: dict) -> None:
    views, radius, weight = options.get("views", 2), options.get("radius", 0.3), options.get("weight", 1.0)
    for run in (viewed_run(objective="infonce(temperature=0.2)"), partly()):
        part = build(**options)
        part.begin(run)
        for rows in batches(run)[:2]:
            losses = part.step(run, rows)
            z = torch.cat([replace(run, seed=run.draw(f"view {v}")).encode("query", rows) for v in range(views)])
            item, keys = rows.tolist() * views, run.data.keys
            group = [int(keys.group[i]) for i in item]
            target = [int(keys.target[i]) if keys.target[i] >= 0 else f"row {i}" for i in item]
            wanted = loss(z, z, group, target)
            assert losses["views"].item() == pytest.approx(wanted.item(), rel=1e-4)
            assert ("adversarial" in losses) == (weight > 0)
            if weight:
                at = z.detach().clone().requires_grad_(True)
                (slope,) = torch.autograd.grad(loss(at, at, group, target), at)
                moved = [step(a, g, radius) for a, g in zip(z.tolist(), slope.tolist(), strict=True)]
                harder = loss(torch.tensor(moved), z.detach(), group, target).item()
                assert losses["adversarial"].item() == pytest.approx(weight * harder, rel=1e-3)
                assert harder > wanted.item(), "a step along the gradient makes the loss larger"
            run.step += 1
    refusals(build, options)


def partly():
    """Two rows in three have no label."""
    run = viewed_run(objective="infonce(temperature=0.2)")
    keys = run.data.keys
    run.data = replace(run.data, keys=Keys(keys.item, keys.group, torch.where(keys.item % 3 > 0, -1, keys.target)))
    return run


def loss(q, k, group, target):
    total, sim = 0.0, q @ k.T / TEMPERATURE
    for i in range(len(q)):
        mine = [j for j in range(len(k)) if j != i and target[j] == target[i]]
        rest = [j for j in range(len(k)) if target[j] != target[i] and group[j] != group[i]]
        others = sim[i, rest].exp().sum()
        total = total + sum(torch.log1p(others / sim[i, j].exp()) for j in mine) / len(mine)
    return total / len(q)


def step(z, g, radius):
    along = sum(a * b for a, b in zip(z, g, strict=True))
    flat = [b - along * a for a, b in zip(z, g, strict=True)]
    length = math.hypot(*flat)
    made = [a + radius * b / length for a, b in zip(z, flat, strict=True)]
    return [a / math.hypot(*made) for a in made]


def refusals(build, options):
    with pytest.raises(PartError, match="these are pairs"):
        build(**options).begin(small_run())
    with pytest.raises(PartError, match="nothing alters"):
        build(**options).begin(labelled_run())
