"""Variances, weights and losses of steps by loops, on frozen features; and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run, product_run, small_run
from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tests.oracles._class_margin import OBJECTIVE, cross_entropy

CASES: list[dict] = [{}, {"alpha": 1.5, "beta": 0.1}, {"alpha": 0.0, "beta": 0.0}]


def check(build, options):
    for run in (labelled_run(objective=OBJECTIVE), product_run(objective=OBJECTIVE)):
        _steps(build(**options), run, options, lambda run, side, rows: run.data.side(side).batch(rows, seed=None))
    _ends(build, options)
    _refusals(build, options)


def _steps(part, run, options, activations):
    """Three batches, the least variance carried on from one to the next."""
    part.begin(run)
    sides = ["query"] if run.data.same_space else ["query", "document"]
    least = dict.fromkeys(sides, math.inf)
    unequal = False
    for rows in batches(run)[:3]:
        losses = part.step(run, rows)
        assert list(losses) == sides and run.chain.asked
        for side in sides:
            variances = [_variance(a.flatten().tolist()) for a in activations(run, side, rows)]
            least[side] = min(least[side], *variances)
            length = max(variances) - min(variances)
            weights = []
            for v in variances:
                share = min(10.0, (v - least[side]) / length)
                weights.append(math.exp(options.get("alpha", 0.3) * share) - options.get("beta", 0.3))
            unequal |= max(weights) - min(weights) > 0.1
            expected, counted = 0.0, 0
            for z, row, w in zip(run.encode(side, rows).tolist(), rows, weights, strict=True):
                if int(run.data.keys.target[row]) >= 0:
                    expected += w * cross_entropy(part, run, z, int(row))
                    counted += 1
            assert losses[side].item() == pytest.approx(expected / counted / len(sides), rel=1e-4), (options, side)
        run.step += 1
    assert unequal == (options.get("alpha", 0.3) > 0)
    if not unequal:
        plain = make("strategy", "class-proxies")
        plain.begin(run)
        plain.vectors.data.copy_(part.vectors.data)
        rows = batches(run)[3]
        ours, theirs = part.step(run, rows), plain.step(run, rows)
        assert all(torch.allclose(ours[side], theirs[side], rtol=1e-5) for side in sides)
    sum(losses.values()).backward()
    assert part.vectors.grad.abs().sum() > 0


def _variance(numbers):
    mean = sum(numbers) / len(numbers)
    return sum((x - mean) ** 2 for x in numbers) / len(numbers)


def _ends(build, options):
    """Equal variances weigh alike, and a batch of nearly equal ones far above the least is not let overflow."""
    run = labelled_run()
    part = build(**options)
    part.begin(run)
    alpha, beta = options.get("alpha", 0.3), options.get("beta", 0.3)
    same = part.weights(run, "query", torch.full((4,), 0.5))
    assert same.tolist() == pytest.approx([1 - beta] * 4)
    close = part.weights(run, "query", torch.tensor([5.0, 5.00001]))
    assert close.tolist() == pytest.approx([math.exp(10 * alpha) - beta] * 2)
    assert part.least[0] == 0.5 and part.least[1] == math.inf


def _refusals(build, options):
    with pytest.raises(PartError, match="one loss for all"):
        build(**options).begin(labelled_run(objective="madacos"))
    run = small_run(same_space=True)
    keys = run.data.keys
    run.data = replace(run.data, keys=Keys(keys.item, keys.group, torch.arange(len(run.data))))
    with pytest.raises(PartError, match="appears once"):
        build(**options).begin(run)
