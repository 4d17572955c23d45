"""Losses pair by pair, divided by another library's mixture; the loss of the pairs that are left by loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"warm_up": 0, "surely": 0.9}, {"heads": 2, "warm_up": 1}]
T, WRONG = 0.3, 24


def check(build, options):
    for both_ways in (True, False):
        run, part = _trained(build, options, both_ways)
        warm, surely = options.get("warm_up", 2), options.get("surely", 0.5)
        run.epoch = max(warm, 1)
        heads = [run.towers, part.second] if options.get("heads") == 2 else [run.towers]
        said = [_clean(_losses(run, towers, range(80), both_ways), surely) for towers in heads]
        rows = batches(run)[3]
        found = part.step(run, rows)
        mask = part.clean.tolist()
        for i in range(80):
            votes = {vote[i] for vote in said}
            assert len(votes) == 2 or None in votes or mask[i] == votes.pop(), i
        assert 10 < sum(mask) < 80
        assert sum(mask[:WRONG]) / WRONG < sum(mask[WRONG:]) / (80 - WRONG), "wrong pairs are learnt from as others"
        for name, towers in zip(("", "second "), heads, strict=False):
            total = sum(x.item() for key, x in found.items() if key.startswith("second") == bool(name))
            ways = 2 if both_ways else 1
            losses = _losses(run, towers, rows.tolist(), both_ways)
            kept = [x for x, row in zip(losses, rows.tolist(), strict=True) if mask[row]]
            assert total == pytest.approx(sum(kept) / len(kept) / ways, rel=1e-4)
        before = part.clean.clone()
        part.step(run, rows)
        assert torch.equal(part.clean, before), "pairs are divided once an epoch"
    _warm(build, options)
    _refusals(build, options)


def _world(**recipe):
    """80 pairs of which the first exchange their documents."""
    run = small_run(n=80, objective=f"infonce(temperature={T})", **recipe)
    y = run.data.document.batch(np.arange(80), seed=None).numpy().copy()
    y[:WRONG] = np.roll(y[:WRONG], 5, axis=0)
    run.data = replace(run.data, document=type(run.data.document)(y))
    return run


def _trained(build, options, both_ways):
    run = _world(both_ways=both_ways)
    part = build(**options | {"warm_up": 1})
    part.begin(run)
    every = [*run.towers.parameters(), *part.parameters()]
    optimizer = torch.optim.SGD(every, lr=0.1, momentum=0.9)
    for _ in range(3):
        for rows in batches(run):
            optimizer.zero_grad()
            torch.stack(list(part.step(run, rows).values())).sum().backward()
            optimizer.step()
            run.step += 1
    part.warm_up = options.get("warm_up", 2)
    return run, part


def _losses(run, towers, rows, both_ways):
    rows = np.asarray(rows)
    with torch.no_grad():
        q, k = (towers[side](getattr(run.data, side).batch(rows, seed=None)).tolist() for side in ("query", "document"))
    group = run.data.keys.group[torch.from_numpy(rows)].tolist()
    dot = [[sum(a * b for a, b in zip(x, y, strict=True)) / T for y in k] for x in q]
    found = []
    for i in range(len(rows)):
        total = 0.0
        for way in range(2 if both_ways else 1):
            s = dot[i] if way == 0 else [row[i] for row in dot]
            others = [math.exp(x) for j, x in enumerate(s) if group[j] != group[i]]
            total += math.log((math.exp(s[i]) + sum(others)) / math.exp(s[i]))
        found.append(total)
    return found


def _clean(losses, surely):
    """True, False, or None where it is too near to call."""
    x = (np.asarray(losses) - min(losses)) / (max(losses) - min(losses))
    mixture = GaussianMixture(2, reg_covar=5e-4, max_iter=200, tol=1e-6, random_state=0).fit(x[:, None])
    low = int(mixture.means_[:, 0].argmin())
    p = mixture.predict_proba(x[:, None])[:, low]
    p = np.where(x > mixture.means_[1 - low, 0], 0.0, np.where(x < mixture.means_[low, 0], 1.0, p))
    return [None if abs(one - surely) < 0.05 else bool(one > surely) for one in p]


def _warm(build, options):
    """Every pair counts until the warm-up is over."""
    run = _world()
    part = build(**options | {"warm_up": 1})
    part.begin(run)
    part.step(run, batches(run)[0])
    assert part.clean.all()


def _refusals(build, options):
    for run, words in (
        (small_run(same_space=True), "one side"),
        (small_run(n=4), "too few"),
        (small_run(objective="dclw"), "whole batch"),
    ):
        with pytest.raises(PartError, match=words):
            build(**options).begin(run)
