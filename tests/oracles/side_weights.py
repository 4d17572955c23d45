"""Oracle: the ranking loss of each side by loops over its wrong items, weighed."""

from __future__ import annotations

import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"query": 0.0, "document": 2.0}, {"query": 3.0, "document": 1.0}]
MARGIN = 0.4


def _ranking(rows: list[list[float]], cols: list[list[float]], group: list[int]) -> float:
    total = 0.0
    for i, q in enumerate(rows):
        scores = [sum(a * b for a, b in zip(q, k, strict=True)) for k in cols]
        hinges = [max(0.0, MARGIN - scores[i] + s) for j, s in enumerate(scores) if group[j] != group[i]]
        total += sum(hinges) / len(hinges)
    return total / len(rows)


def check(build, options: dict) -> None:
    """The weighed losses; a side without weight is not computed; equal weights are two-tower."""
    query, document = options.get("query", 1.0), options.get("document", 0.0)
    run = small_run(objective=f"triplet(margin={MARGIN})")
    part = build(**options)
    part.begin(run)
    rows = batches(run)[0]
    losses = part.step(run, rows)
    q, k = run.encode("query", rows).tolist(), run.encode("document", rows).tolist()
    group = run.data.keys.group[torch.from_numpy(rows)].tolist()
    expected = {
        "query": query / (query + document) * _ranking(q, k, group),
        "document": document / (query + document) * _ranking(k, q, group),
    }
    assert set(losses) == {side for side, value in expected.items() if value}
    for side, loss in losses.items():
        assert loss.item() == pytest.approx(expected[side], rel=1e-5)
    for refused, made in (
        (small_run(same_space=True), part),
        (small_run(both_ways=False), part),
        (run, build(query=0.0, document=0.0)),
    ):
        with pytest.raises(PartError, match="side-weights"):
            made.begin(refused)
