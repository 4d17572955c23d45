"""Memories and copies of all processes: two have the gradients of one, and given negatives are retrieved as well."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tellapart.contract.strategy import batches, small_run, viewed_run
from tellapart.core.parts import make
from tellapart.engine import distributed
from tests.spawned import by_two

RUNS = {"cloob": small_run, "multi-view(views=3)": viewed_run, "multi-view(stop_gradient=True)": viewed_run}


def _gradients(spec: str) -> list[torch.Tensor]:
    """Of the towers, from this process's share of one batch of ten."""
    run = RUNS[spec](objective="dcl(temperature=0.3)", batch_size=10)
    part = make("strategy", spec)
    part.begin(run)
    rows = batches(run)[0].reshape(distributed.world(), -1)[distributed.rank()]
    torch.stack(list(part.step(run, rows).values())).sum().backward()
    parameters = list(run.towers.parameters())
    distributed.average_gradients(parameters)
    return [p.grad for p in parameters if p.grad is not None]


def _all() -> list[list[torch.Tensor]]:
    return [_gradients(spec) for spec in RUNS]


@pytest.mark.processes
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    for got, spec in zip(by_two(_all, tmp_path)[0], RUNS, strict=True):
        wanted = _gradients(spec)
        assert len(got) == len(wanted) and any(x.abs().max() > 0 for x in wanted)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(got, wanted, strict=True)), spec


def test_given_negatives_come_from_the_memory_too() -> None:
    """As if a negative had stood in for the other half of the pair."""
    run, rows = small_run(objective="infonce(temperature=0.3)"), batches(small_run())[0]
    other = (torch.arange(len(run.data)) + 7) % len(run.data)
    run.data = replace(run.data, negatives=other[:, None])
    part = make("strategy", "cloob(beta=5)")
    part.begin(run)
    seen = []
    run.contrast = functools.partial(_kept, seen)
    part.step(run, rows)
    run.data = replace(run.data, negatives=None)
    memory = run.encode("query", rows)
    weight = (5 * run.encode("document", other[torch.from_numpy(rows)].numpy()) @ memory.T).softmax(1)
    wanted = torch.nn.functional.normalize(weight @ memory, dim=1)
    assert torch.allclose(seen[0].own[:, 0], wanted, atol=1e-5)
    assert seen[1].own is None, "documents have no negatives"


def _kept(seen, pairing):
    seen.append(pairing)
    return pairing.q.sum()
