"""Oracle: InfoNCE in both directions, with the duplicate group left out, in plain loops."""

from __future__ import annotations

import math

import torch

from tellapart.contract.strategy import batches, small_run

CASES: list[dict] = [{}]
TEMPERATURE = 0.07


def _direction(rows: list[list[float]], cols: list[list[float]], group: list[int]) -> float:
    total = 0.0
    for i, q in enumerate(rows):
        scores = [sum(a * b for a, b in zip(q, k, strict=True)) / TEMPERATURE for k in cols]
        wrong = [s for j, s in enumerate(scores) if group[j] != group[i]]
        total -= math.log(math.exp(scores[i]) / (math.exp(scores[i]) + sum(math.exp(s) for s in wrong)))
    return total / len(rows)


def check(build, options: dict) -> None:
    """Both directions, one direction, and one column with labels."""
    run = small_run(objective=f"infonce(temperature={TEMPERATURE})")
    part = build(**options)
    part.begin(run)
    rows = batches(run)[0]
    losses = part.step(run, rows)
    q, k = run.encode("query", rows).tolist(), run.encode("document", rows).tolist()
    group = run.data.keys.group[torch.from_numpy(rows)].tolist()
    assert math.isclose(losses["query"].item(), _direction(q, k, group) / 2, rel_tol=1e-5)
    assert math.isclose(losses["document"].item(), _direction(k, q, group) / 2, rel_tol=1e-5)
    one = small_run(objective=f"infonce(temperature={TEMPERATURE})", both_ways=False)
    part.begin(one)
    assert math.isclose(part.step(one, rows)["query"].item(), _direction(q, k, group), rel_tol=1e-5)
