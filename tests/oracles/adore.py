"""Oracle: the live ranking by sorting, |difference of reciprocal rank| by swapping two documents, RankNet in loops."""

from __future__ import annotations

import math

import torch

from tellapart.contract.strategy import batches, small_run

CASES: list[dict] = [{}, {"before": 0.0}, {"before": 0.25, "depth": 5, "start": "two-tower"}]
TEMPERATURE = 0.1


def check(build, options: dict) -> None:
    """The loss after the documents are frozen, for every query of a batch, and that documents stay frozen."""
    run = small_run(objective=f"ranknet(temperature={TEMPERATURE})")
    part = build(**options)
    part.begin(run)
    depth = min(options.get("depth", 100), len(run.data) - 1)
    run.step = math.ceil(options.get("before", 0.5) * run.steps)
    rows = batches(run)[0]
    (loss,) = part.step(run, rows).values()
    q, k = run.encode("query", rows).detach(), run.encode_all("document")
    expected = 0.0
    for i, row in enumerate(rows.tolist()):
        score = {j: float(q[i] @ k[j]) for j in range(len(k)) if j == row or j // 2 != row // 2}
        ranked = sorted(score, key=lambda j: -score[j])
        wrong = [j for j in ranked if j != row][:depth]
        for j in wrong:
            change = abs(1 / (1 + ranked.index(row)) - 1 / (1 + ranked.index(j)))
            expected += change * math.log1p(math.exp((score[j] - score[row]) / TEMPERATURE))
    assert math.isclose(loss.item(), expected / len(rows), rel_tol=1e-4), (loss.item(), expected / len(rows))
    loss.backward()
    assert all(p.grad is None for p in run.towers["document"].parameters())
    frozen = part.index.clone()
    with torch.no_grad():
        run.towers["document"].map.weight.zero_()
    part.step(run, rows)
    assert torch.equal(part.index, frozen), "the index must not be built again"
