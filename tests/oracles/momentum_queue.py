"""Oracle: a queue kept as a Python list and copies moved by hand, over several steps of training."""

from __future__ import annotations

import copy
import math

import torch

from tellapart.contract.strategy import batches, small_run

CASES: list[dict] = [{}, {"size": 13, "momentum": 0.5}]


def check(build, options: dict) -> None:
    """Losses of six steps, with the towers moved by gradient descent in between."""
    size, momentum = options.get("size", 4096), options.get("momentum", 0.99)
    run = small_run(objective="infonce(temperature=0.2)", both_ways=False)
    size = min(size, len(run.data))
    part = build(**options)
    part.begin(run)
    copied = copy.deepcopy(run.towers)
    queue: list[tuple[torch.Tensor, int, int]] = []
    for rows in batches(run)[:6]:
        (loss,) = part.step(run, rows).values()
        q = run.encode("query", rows).detach()
        k = copied["document"](run.data.document.batch(rows, seed=None)).detach()
        keys = run.keys(rows)
        expected = 0.0
        for i in range(len(rows)):
            group = int(keys.group[i])
            positive = math.exp(float(q[i] @ k[i]) / 0.2)
            wrong = [k[j] for j in range(len(rows)) if int(keys.group[j]) != group]
            wrong += [z for z, _, other in queue if other != group]
            expected -= math.log(positive / (positive + sum(math.exp(float(q[i] @ z) / 0.2) for z in wrong)))
        assert math.isclose(loss.item(), expected / len(rows), rel_tol=1e-4), (loss.item(), expected / len(rows))
        run.towers.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in run.towers.parameters():
                if p.grad is not None:
                    p -= 0.5 * p.grad
            for old, new in zip(copied.parameters(), run.towers.parameters(), strict=True):
                old.copy_(momentum * old + (1 - momentum) * new)
        part.after(run)
        run.step += 1
        queue += [(k[j], int(keys.item[j]), int(keys.group[j])) for j in range(len(rows))]
        queue = queue[-size:]
