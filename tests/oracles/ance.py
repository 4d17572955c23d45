"""Oracle: the lists by sorting all documents for each query, mined on time, and only of the queries that moved."""

from __future__ import annotations

import math

import torch

from tellapart.contract.strategy import batches, small_run

CASES: list[dict] = [
    {},
    {"warmup": 0.0, "refresh": 3, "depth": 3, "draws": 2},
    {"warmup": 0.0, "refresh": 2, "moved": 0.3},
]


def check(build, options: dict) -> None:
    warmup, refresh = options.get("warmup", 0.3), options.get("refresh", 50)
    run = small_run(objective="infonce(temperature=0.2)")
    depth = min(options.get("depth", 100), len(run.data) - 1)
    part = build(**options)
    part.begin(run)
    rows = batches(run)[0]
    expected, vectors, due = None, None, 0.0
    for step in range(run.steps):
        run.step = step
        with torch.no_grad():
            # Every step turns some of the queries a little and leaves the others where they are.
            run.towers["query"].map.weight[0] *= -1 if step % 2 else 1.7
        q, k = run.encode_all("query").detach(), run.encode_all("document").detach()
        if step >= warmup * run.steps and step >= due:
            old, expected = expected, _lists(q, k, depth)
            for i in range(len(q)):
                if old is not None and options.get("moved") and 1 - float(q[i] @ vectors[i]) <= options["moved"]:
                    expected[i] = old[i]
            vectors = q if old is None else [q[i] if expected[i] is not old[i] else vectors[i] for i in range(len(q))]
            due = step + refresh
        loss = _loss_and_draws(run, part, rows, options, expected)
        assert loss
        if expected is None:
            assert int(part.last) == -1
        else:
            assert [[j for j in row if j >= 0] for row in part.negatives.tolist()] == expected
    assert expected is not None


def _lists(q, k, depth: int) -> list[list[int]]:
    found = []
    for i in range(len(q)):
        ranked = sorted(range(len(k)), key=lambda j, i=i: -float(q[i] @ k[j]))
        found.append([j for j in ranked if j // 2 != i // 2][:depth])
    return found


def _loss_and_draws(run, part, rows, options: dict, expected) -> bool:
    """InfoNCE in loops over the batch's documents and those that the step encoded beside them."""
    encoded = []
    encode = run.encode
    run.encode = lambda side, chosen, **more: (encoded.append(chosen), encode(side, chosen, **more))[1]
    (loss,) = part.step(run, rows).values()
    run.encode = encode
    q, k = run.encode_all("query"), run.encode_all("document")
    draws = min(options.get("draws", 4), part.depth)
    beside = encoded[-1].reshape(len(rows), -1)[:, :draws].tolist() if expected is not None else [[]] * len(rows)
    total = 0.0
    for i, row in enumerate(rows.tolist()):
        if expected is not None:
            assert set(beside[i]) <= set(expected[row]) and len(set(beside[i])) == len(beside[i])
        others = [j for j in rows.tolist() if j // 2 != row // 2] + beside[i]
        scores = [float(q[row] @ k[j]) / 0.2 for j in [row, *others]]
        total += math.log(sum(math.exp(s - scores[0]) for s in scores))
    assert math.isclose(loss.item(), total / len(rows), rel_tol=1e-4), (loss.item(), total / len(rows))
    return True
