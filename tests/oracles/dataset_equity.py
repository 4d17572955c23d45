"""Shares of planted looks, weights and losses of steps by loops; and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run, product_run, small_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys
from tests.oracles._class_margin import OBJECTIVE, cross_entropy

CASES: list[dict] = [{}, {"eta": 0.01, "gamma": 2.5}, {"eta": 0.3, "gamma": 20.0}]
RARE = 7


def check(build, options):
    eta, gamma = options.get("eta", 1.0), options.get("gamma", 5.0)
    for made in (labelled_run, product_run):
        run = made(objective=OBJECTIVE)
        look = _planted(run)
        weights = []
        for each in look:
            share = sum(other == each for other in look) / len(look)
            weights.append((eta + (1 - share) ** gamma) / (eta + 1))
        part = build(**options)
        part.begin(run)
        assert part.weight.tolist() == pytest.approx(weights, rel=1e-4) and max(weights) > min(weights)
        sides = ["query"] if run.data.same_space else ["query", "document"]
        for rows in batches(run)[:2]:
            losses = part.step(run, rows)
            assert list(losses) == sides and run.chain.asked
            for side in sides:
                expected, counted = 0.0, 0
                for z, row in zip(run.encode(side, rows).tolist(), rows.tolist(), strict=True):
                    if int(run.data.keys.target[row]) >= 0:
                        expected += weights[row] * cross_entropy(part, run, z, row)
                        counted += 1
                assert losses[side].item() == pytest.approx(expected / counted / len(sides), rel=1e-4), (options, side)
        sum(losses.values()).backward()
        assert part.vectors.grad.abs().sum() > 0
    _refusals(build, options)


def _planted(run):
    """Give the items of a run two looks, of which one is rare; the look of each."""
    rng, n = np.random.default_rng(5), len(run.data)
    look = [int(i % 6 == 0 and i < 6 * RARE) for i in range(n)]
    for name in ("query", "document"):
        width = getattr(run.data, name).batch(np.arange(1), seed=None).shape[1]
        x = np.array([[3.0 if d == each else 0.0 for d in range(width)] for each in look])
        made = type(run.data.query)((x + 0.1 * rng.normal(size=x.shape)).astype(np.float32))
        if name == "document" and run.data.same_space:
            made = run.data.query
        run.data = replace(run.data, **{name: made})
    return look


def _refusals(build, options):
    with pytest.raises(PartError, match="one loss for all"):
        build(**options).begin(labelled_run(objective="madacos"))
    run = small_run(same_space=True)
    keys = run.data.keys
    run.data = replace(run.data, keys=Keys(keys.item, keys.group, torch.arange(len(run.data))))
    with pytest.raises(PartError, match="appears once"):
        build(**options).begin(run)
