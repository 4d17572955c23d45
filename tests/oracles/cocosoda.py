"""Six terms by loops over several steps, with queues as lists, copies moved by hand, altered inputs; refusals."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"size": 13, "momentum": 0.5}]
T = 0.2


def check(build, options: dict) -> None:
    for both_ways in (True, False):
        for changed in (True, False):
            _steps(build, options, both_ways=both_ways, changed=changed)
    with pytest.raises(PartError, match="two sides"):
        build(**options).begin(small_run(same_space=True))


def _steps(build, options, *, both_ways, changed):
    size, momentum = options.get("size", 1024), options.get("momentum", 0.99)
    run = small_run(objective=f"infonce(temperature={T})", both_ways=both_ways)
    rng = np.random.default_rng(3)
    plain = {side: getattr(run.data, side).x.numpy() for side in ("query", "document")}
    other = {side: x + 0.5 * rng.normal(size=x.shape).astype(np.float32) for side, x in plain.items()}
    if changed:
        for side, x in plain.items():
            getattr(run.data, side).batch = lambda rows, seed, both=(x, other[side]): torch.from_numpy(
                both[seed is not None][rows]
            )
    part = build(**options)
    part.begin(run)
    copied = copy.deepcopy(run.towers)
    size = min(size, len(run.data))
    queue: list[dict] = []
    for rows in batches(run)[:6]:
        losses = part.step(run, rows)
        seen = other if changed else plain
        z = {}
        for side in ("query", "document"):
            z[side] = run.towers[side](torch.from_numpy(plain[side][rows])).detach().tolist()
            z[f"altered {side}"] = copied[side](torch.from_numpy(seen[side][rows])).detach().tolist()
        group = [int(g) for g in run.data.keys.group[rows]]
        wanted = {}
        for side in ("query", "document") if both_ways else ("query",):
            for kind in z:
                if kind == side:
                    continue
                total = 0.0
                for i in range(len(rows)):
                    lead = _e(z[side][i], z[kind][i])
                    rest = sum(_e(z[side][i], z[kind][j]) for j in range(len(rows)) if group[j] != group[i])
                    rest += sum(_e(z[side][i], one[kind]) for one in queue if one["group"] != group[i])
                    total -= math.log(lead / (lead + rest))
                wanted[f"{side} to {kind}"] = total / len(rows)
        assert set(losses) == set(wanted) and len(wanted) == (6 if both_ways else 3)
        for name, value in wanted.items():
            assert math.isclose(losses[name].item(), value / len(wanted), rel_tol=1e-4), (options, run.step, name)
        run.towers.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        with torch.no_grad():
            for p in run.towers.parameters():
                p -= 0.5 * p.grad
        part.after(run)
        with torch.no_grad():
            for c, p in zip(copied.parameters(), run.towers.parameters(), strict=True):
                c.copy_(momentum * c + (1 - momentum) * p)
        queue += [{"group": group[i], **{kind: v[i] for kind, v in z.items()}} for i in range(len(rows))]
        queue = queue[-size:]
        run.step += 1


def _e(a, b):
    return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / T)
