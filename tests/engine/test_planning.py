"""Samplers that look at the towers: what they are shown and when, in one run, a resumed run and several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as dist

from tellapart.contract.strategy import small_run
from tellapart.core.errors import PartError
from tellapart.core.parts import cards
from tellapart.core.plan import looked_at
from tellapart.core.relation import Keys
from tellapart.engine import distributed
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.planning import Planner
from tellapart.engine.session import Run
from tellapart.recipe import Recipe
from tests.spawned import together

LOOKING = [name for name, card in cards("sample").items() if "vectors" in card.traits]
ONCE_OF_FOUR = "(start=1, refresh=4)"
SMALL = Recipe(head="linear-head(dim=8)", epochs=6, batch_size=16, learning_rate=0.01)


def pairs(n: int = 70) -> TrainData:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(n, 5))
    sides = [(cause @ rng.normal(size=(5, w)) + 0.05 * rng.normal(size=(n, w))).astype(np.float32) for w in (12, 9)]
    item = torch.arange(n)
    extra = {"topic_vectors": cause.astype(np.float32)}
    return TrainData(Features(sides[0]), Features(sides[1]), Keys(item, item // 2, item), extra=extra)


def same_bits(a: Fitted, b: Fitted) -> bool:
    return all(np.array_equal(a.state[s][k], b.state[s][k]) for s in a.state for k in a.state[s])


def looking(**recipe: Any) -> Run:
    run = small_run(**recipe)
    run.data.extra["topic_vectors"] = run.data.query.x.numpy()
    return run


def moved(run: Run, by: float) -> None:
    with torch.no_grad():
        for p in run.towers.parameters():
            p += by * torch.arange(p.numel()).view_as(p).remainder(3)


def flat(plan: list[np.ndarray]) -> list[list[int]]:
    return [rows.tolist() for rows in plan]


def test_there_are_samplers_that_look() -> None:
    assert LOOKING


def test_the_epochs_that_are_looked_at() -> None:
    found = [looked_at(epoch, start=2, refresh=3) for epoch in range(9)]
    assert found == [None, None, 2, 2, 2, 5, 5, 5, 8]


@pytest.mark.parametrize("name", LOOKING)
def test_vectors_are_made_when_a_refresh_begins_and_never_between(name: str) -> None:
    run = looking(sample=name + ONCE_OF_FOUR, batch_size=8)
    planner, shown = Planner(run), []
    sampler = planner._sampler
    planner._sampler = lambda keys, **options: shown.append(keys.query) or sampler(keys, **options)
    for epoch in range(6):
        planner.plan(epoch)
        moved(run, 0.1)
    assert shown[0] is None
    assert all(x is shown[1] for x in shown[1:5])
    assert not np.allclose(shown[5], shown[1])
    assert np.allclose(np.linalg.norm(shown[1], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", LOOKING)
def test_looking_leaves_the_towers_and_the_random_state_as_they_were(name: str) -> None:
    run = looking(sample=name, batch_size=8)
    planner = Planner(run)
    planner.plan(4)
    again = Planner(run)
    again.restore(planner.tensors(), 4)
    moved(run, 0.1)
    before = {key: x.clone() for key, x in run.towers.state_dict().items()}
    state = torch.get_rng_state()
    again.plan(5)
    assert all(torch.equal(x, before[key]) for key, x in run.towers.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and run.towers.training


@pytest.mark.parametrize("name", LOOKING)
def test_a_restored_planner_goes_on_with_the_same_plans(name: str) -> None:
    run = looking(sample=name + ONCE_OF_FOUR, batch_size=8)
    planner, plans, kept = Planner(run), [], []
    for epoch in range(6):
        plans.append(flat(planner.plan(epoch)))
        kept.append({key: x.clone() for key, x in planner.tensors().items()})
        moved(run, 0.5)
    resumed = Planner(run)
    for epoch in (1, 2, 3, 4):
        resumed.restore(kept[epoch], epoch)
        assert flat(resumed.plan(epoch)) == plans[epoch]
        if epoch < 4:
            assert flat(resumed.plan(epoch + 1)) == plans[epoch + 1]
    assert not kept[0] and kept[1]


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("stop", [2, 6, 8, 11])
def test_a_stopped_run_goes_on_to_the_same_bits(name: str, stop: int, resumed: Callable[..., Fitted]) -> None:
    recipe = SMALL.but(sample=name + "(start=1, refresh=2)", head="mlp-head(dim=8, hidden=16)", average=0.3)
    data = pairs()
    whole = fit(recipe, data)
    again = resumed(recipe, data, stop=stop)
    assert same_bits(whole, again) and whole.history == again.history
    assert not same_bits(whole, fit(recipe.but(sample="shuffle"), data))


@pytest.mark.parametrize("name", LOOKING)
def test_vectors_that_would_come_too_late_are_refused(name: str) -> None:
    with pytest.raises(PartError, match="train longer"):
        fit(SMALL.but(sample=f"{name}(start=6)"), pairs())


def _plans() -> dict[str, list[list[list[int]]]]:
    """Plans of six epochs with towers that move, as one list of global batches, whoever holds a piece of them."""
    found = {}
    for name in LOOKING:
        run = looking(sample=name + "(start=1, refresh=2)", batch_size=8)
        run.data.query.chunk = run.data.document.chunk = 9
        planner, plans = Planner(run), []
        for epoch in range(6):
            pieces = [distributed.gather(torch.from_numpy(rows)).tolist() for rows in planner.plan(epoch)]
            plans.append(pieces)
            moved(run, 0.3)
        found[name] = plans
    return found


def _process(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    found = _plans()
    if rank == world - 1:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.processes
@pytest.mark.parametrize("world", [2, 4])
def test_processes_plan_the_same_global_batches_as_one(world: int, tmp_path: Path) -> None:
    together(_process, world, world, str(tmp_path))
    assert torch.load(tmp_path / "found.pt", weights_only=True) == _plans()
