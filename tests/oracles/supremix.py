"""Oracle: mixtures, weights and losses of a step by loops over items; shares of a Beta law; and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.draws import RowDraws
from tellapart.core.errors import PartError

CASES: list[dict] = [
    {},
    {"mixes": 0, "slope": 0.0},
    {"window": 1.5, "slope": 3.0, "mixes": 5, "alpha": 4, "beta": 3},
    {"window": 0.15, "mixes": 7},
]
TEMPERATURE = 0.3
OTHER, SHARE, BELOW, ABOVE = range(4)


def check(build, options: dict) -> None:
    learnt = 0
    for same_space in (False, True):
        run = small_run(n=120, objective=f"supcon(temperature={TEMPERATURE})", same_space=same_space)
        part = build(**options)
        part.begin(run)
        rows = np.concatenate(batches(run)[:3])
        rows = np.unique(np.concatenate([rows, rows[:5] ^ 1]))  # some with their near duplicate
        losses = part.step(run, rows)
        sides = ["query"] if same_space else ["query", "document"]
        assert list(losses) == sides
        z = {side: run.encode(side, rows).detach() for side in sides}
        towers = [run.towers[side].map.weight for side in sides]
        got = torch.autograd.grad(sum(losses.values()), towers)
        total = 0.0
        again = {side: run.encode(side, rows) for side in sides}
        for side in sides:
            other = sides[-1] if side == "query" else "query"
            expected, learning = _loss(run, rows, again[side], again[other], z[side], z[other], options)
            learnt += learning
            assert math.isclose(losses[side].item(), expected.item() / len(sides), rel_tol=1e-4), (options, side)
            total = total + expected / len(sides)
        wanted = torch.autograd.grad(total, towers)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(got, wanted, strict=True))
    assert learnt > 0, "a case without positives between two others shows nothing"
    _law(build)
    _refusals(build, options)


def _loss(run, rows, q, k, q_still, k_still, options):
    """The mean loss of the rows that have a positive, and how many positives were made between two others."""
    window, slope, mixes = options.get("window", 0.3), options.get("slope", 16.0), options.get("mixes", 32)
    alpha, beta = options.get("alpha", 2), options.get("beta", 8)
    score = run.data.extra["score"]
    mean = sum(score) / len(score)
    spread = math.sqrt(sum((s - mean) ** 2 for s in score) / len(score))
    y = [(score[r] - mean) / spread for r in rows]
    item, group = run.data.keys.item[rows], run.data.keys.group[rows]
    draws = RowDraws(run.draw("supremix"), item)
    several = alpha + beta - 1
    u_other, u_share = draws.uniform(mixes, stream=OTHER), draws.uniform(several * mixes, stream=SHARE)
    u_low, u_high = draws.uniform(mixes, stream=BELOW), draws.uniform(mixes, stream=ABOVE)
    losses, made = [], 0
    for i in range(len(rows)):
        positive, negative = [], []  # scores with the row; (weight, score)
        strangers = []
        for j in range(len(rows)):
            if rows[j] == rows[i] and run.data.same_space:
                continue
            if score[rows[j]] == score[rows[i]]:
                positive.append(q[i] @ k[j] / TEMPERATURE)
            elif group[j] != group[i]:
                strangers.append(j)
                negative.append((1 + slope * abs(y[i] - y[j]), q[i] @ k[j] / TEMPERATURE))
        for t in range(mixes):
            if strangers:
                j = strangers[min(int(u_other[i, t] * len(strangers)), len(strangers) - 1)]
                share = sorted(u_share[i, several * t : several * (t + 1)].tolist())[alpha - 1]
                point = share * q_still[i] + (1 - share) * k_still[j]
                at = share * y[i] + (1 - share) * y[j]
                negative.append((1 + slope * abs(y[i] - at), q[i] @ (point / point.norm()) / TEMPERATURE))
            low = [j for j in strangers if y[i] - window < y[j] < y[i]]
            high = [j for j in strangers if y[i] < y[j] < y[i] + window]
            if low and high:
                a = low[min(int(u_low[i, t] * len(low)), len(low) - 1)]
                b = high[min(int(u_high[i, t] * len(high)), len(high) - 1)]
                c = (y[b] - y[i]) / (y[b] - y[a])
                assert math.isclose(c * y[a] + (1 - c) * y[b], y[i], abs_tol=1e-9)
                point = c * k_still[a] + (1 - c) * k_still[b]
                positive.append(q[i] @ (point / point.norm()) / TEMPERATURE)
                made += 1
        if positive:
            everything = sum(torch.exp(p) for p in positive) + sum(w * torch.exp(s) for w, s in negative)
            losses.append(sum(torch.log(everything) - p for p in positive) / len(positive))
    return sum(losses) / len(losses), made + (mixes == 0)


def _law(build):
    """The row's share in its negatives follows Beta(alpha, beta): mean and variance, from the points themselves."""
    run = small_run(same_space=True)
    for alpha, beta in ((2, 8), (5, 2), (1, 1)):
        part = build(alpha=alpha, beta=beta, mixes=512, slope=1.0)
        part.begin(run)
        rows = batches(run)[0]
        seen = {}
        between, draws = part._between, RowDraws(3, torch.from_numpy(rows))
        part._between = lambda enc, y, y_k, d, between=between, seen=seen: (
            seen.update(enc=enc, y=y, y_k=y_k) or (between(enc, y, y_k, d))
        )
        part.step(run, rows)
        weight = between(seen["enc"], seen["y"], seen["y_k"], draws)[2] - 1  # (1 - share) |y_i - y_j|
        other = part_other(seen["enc"], draws, 512)
        share = 1 - weight / (seen["y"][:, None] - seen["y_k"][other]).abs()
        mean, variance = alpha / (alpha + beta), alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
        assert abs(share.mean() - mean) < 0.02 and abs(share.var() - variance) < 0.1 * variance + 0.002


def part_other(enc, draws, mixes):
    u = draws.uniform(mixes, stream=OTHER)
    found = torch.zeros(u.shape, dtype=torch.int64)
    for i, row in enumerate(enc.rel.neg):
        allowed = [j for j, w in enumerate(row.tolist()) if w > 0]
        found[i] = torch.tensor([allowed[min(int(x * len(allowed)), len(allowed) - 1)] for x in u[i]])
    return found


def _refusals(build, options):
    run = small_run(same_space=True)
    for extra, said in (({}, "give a column `score`"), ({"score": np.full(len(run.data), 3.5)}, "all 40 have 3.5")):
        run.data = replace(run.data, extra=extra)
        with pytest.raises(PartError, match=said):
            build(**options).begin(run)
