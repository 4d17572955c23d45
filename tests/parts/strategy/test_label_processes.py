"""Strategies that keep labels or vectors of the items: two processes have the gradients and the memory of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run
from tellapart.core.parts import make
from tellapart.engine import distributed
from tests.spawned import by_two

SPECS = ("sbcl(least=3, warm_up=0.1)", "labelled-queue(size=20)", "bias-loss")


def _trained(spec: str) -> list[torch.Tensor]:
    """Gradients of three steps and what is remembered after them; one class has three quarters of the items."""
    run = labelled_run(objective="supcon(temperature=0.3)", batch_size=10)
    run.data = replace(run.data, keys=replace(run.data.keys, target=run.data.keys.target.clamp_min(2)))
    part = make("strategy", spec)
    part.begin(run)
    found, parameters = [], list(run.towers.parameters())
    for rows in batches(run)[:3]:
        mine = rows.reshape(distributed.world(), -1)[distributed.rank()]
        run.towers.zero_grad()
        torch.stack(list(part.step(run, mine).values())).sum().backward()
        distributed.average_gradients(parameters)
        found += [p.grad.clone() for p in parameters]
        with torch.no_grad():
            for p in parameters:
                p -= 0.3 * p.grad
        part.after(run)
        run.step += 1
    return [*found, *(x.float() for x in part.buffers())]


def _all() -> list[list[torch.Tensor]]:
    return [_trained(spec) for spec in SPECS]


@pytest.mark.processes
def test_two_processes_have_the_gradients_and_the_memory_of_one(tmp_path: Path) -> None:
    for spec, two in zip(SPECS, by_two(_all, tmp_path)[0], strict=True):
        one = _trained(spec)
        assert len(one) == len(two) and all(x.abs().sum() > 0 for x in one), spec
        for alone, shared in zip(one, two, strict=True):
            assert torch.allclose(alone, shared, atol=1e-5), f"{spec}: {(alone - shared).abs().max()}"
