"""Oracle: the written-down negatives by sorting all documents for each query, and RankNet over what a step shows."""

from __future__ import annotations

import math

import torch

from tellapart.contract.strategy import batches, small_run

CASES: list[dict] = [{}, {"warmup": 0.0, "depth": 3, "draws": 6}]


def check(build, options: dict) -> None:
    """Before the warm-up ends: in-batch loss. After it: the static list is right, fixed, and all of it is used."""
    warmup, depth = options.get("warmup", 0.3), options.get("depth", 100)
    run = small_run(objective="ranknet(temperature=0.2)")
    depth = min(depth, len(run.data) - 1)
    part = build(**options)
    part.begin(run)
    rows = batches(run)[0]
    seen: set[float] = set()
    for step in range(run.steps):
        run.step = step
        (loss,) = part.step(run, rows).values()
        assert bool(part.written) == (step >= warmup * run.steps)
        if part.written:
            seen.add(round(loss.item(), 6))
    assert len(seen) > 1, "draws must change from step to step"
    q, k = run.encode_all("query"), run.encode_all("document")
    for i in range(len(run.data)):
        ranked = sorted(range(len(run.data)), key=lambda j: -float(q[i] @ k[j]))
        expected = [j for j in ranked if j // 2 != i // 2][:depth]
        found = [j for j in part.negatives[i].tolist() if j >= 0]
        assert found == expected
    if options:
        assert math.isclose(loss.item(), _weighed(run, part, rows, options), rel_tol=1e-4)
    with torch.no_grad():
        run.towers["query"].map.weight.mul_(-1)
    before = part.negatives.clone()
    part.step(run, rows)
    assert torch.equal(before, part.negatives), "static negatives must stay as they were written down"


def _weighed(run, part, rows, options: dict) -> float:
    """RankNet in loops: in-batch negatives weigh 1, the drawn ones share the weight of a whole batch.

    The draws cannot be known from outside, so the drawn vectors are read off the documents that the step encoded.
    """
    encoded = []
    encode = run.encode
    run.encode = lambda side, chosen, **more: (encoded.append((side, chosen)), encode(side, chosen, **more))[1]
    (loss,) = part.step(run, rows).values()
    run.encode = encode
    drawn = encoded[-1][1].reshape(len(rows), options["draws"])
    q, k = run.encode_all("query"), run.encode_all("document")
    total = 0.0
    for i, row in enumerate(rows.tolist()):
        allowed = part.negatives[row].tolist()
        assert all(j in allowed for j in drawn[i].tolist())
        wrong = [(j, 1.0) for j in rows.tolist() if j // 2 != row // 2]
        wrong += [(j, (len(rows) - 1) / options["draws"]) for j in drawn[i].tolist()]
        for j, weight in wrong:
            total += weight * math.log1p(math.exp(float(q[row] @ k[j] - q[row] @ k[row]) / 0.2))
    expected = total / len(rows)
    assert math.isclose(loss.item(), expected, rel_tol=1e-4), (loss.item(), expected)
    return expected
