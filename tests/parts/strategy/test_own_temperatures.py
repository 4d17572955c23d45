"""Temperatures of one's own: two processes have the gradients and the memory of one; told at every epoch; resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run, viewed_run
from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.engine import distributed
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData, Views
from tellapart.recipe import Recipe
from tests.spawned import by_two

CASES = [
    ("isogclr(rho=1.0, rate=0.05)", small_run),
    ("isogclr(rho=1.0, rate=0.05)", viewed_run),
    ("sogclr", viewed_run),
    ("amcl(heads=2, dim=6, k=4, beta=0.01, hidden=5, temperature_min=0.1)", viewed_run),
    ("multi-head(heads=2, dim=6)", viewed_run),
]
SMALL = Recipe(head="linear-head(dim=8)", epochs=6, batch_size=16, learning_rate=0.01)


def _trained(spec: str, made: Callable[..., object]) -> list[torch.Tensor]:
    """Gradients of three steps, of towers and strategy, and what is remembered after them."""
    run = made(objective="infonce(temperature=0.3)", batch_size=10)
    part = make("strategy", spec)
    part.begin(run)
    found, parameters = [], [*run.towers.parameters(), *part.parameters()]
    for rows in batches(run)[:3]:
        # Processes hold every other row: copies of an item do not lie as in one process.
        mine = rows.reshape(-1, distributed.world())[:, distributed.rank()].copy()
        for p in parameters:
            p.grad = None
        torch.stack(list(part.step(run, mine).values())).sum().backward()
        distributed.average_gradients(parameters)
        found += [p.grad.clone() for p in parameters]
        with torch.no_grad():
            for p in parameters:
                p -= 0.3 * p.grad
        part.after(run)
        run.step += 1
    return [*found, *(x.nan_to_num(neginf=-99.0) for x in part.buffers())]


def _all() -> list[list[torch.Tensor]]:
    return [_trained(*case) for case in CASES]


@pytest.mark.processes
def test_two_processes_have_the_gradients_and_the_memory_of_one(tmp_path: Path) -> None:
    one, other = by_two(_all, tmp_path)
    for case, two, same in zip(CASES, one, other, strict=True):
        alone = _trained(*case)
        assert len(alone) == len(two)
        for x, shared, again in zip(alone, two, same, strict=True):
            assert torch.equal(shared, again), f"{case}: two processes differ"
            assert torch.allclose(x, shared, rtol=1e-3, atol=1e-4), f"{case}: {(x - shared).abs().max()}"


def pairs(n: int = 64) -> TrainData:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(n, 5))
    x, y = (cause @ rng.normal(size=(5, w)) + 0.05 * rng.normal(size=(n, w)) for w in (12, 9))
    item = torch.arange(n)
    return TrainData(Features(x.astype(np.float32)), Features(y.astype(np.float32)), Keys(item, item, item))


def views(n: int = 64) -> TrainData:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 7)).astype(np.float32)
    inputs = Views(x, x[:, None] + 0.3 * rng.normal(size=(n, 4, 7)).astype(np.float32))
    item = torch.arange(n)
    return TrainData(inputs, inputs, Keys(item, item, item), True)


@pytest.mark.parametrize(
    ("strategy", "made", "names"),
    [
        ("isogclr(rho=1.0)", pairs, ["query_temperature", "document_temperature"]),
        ("isogclr(rho=1.0)", views, ["query_temperature"]),
        ("amcl(dim=6, k=9)", views, ["temperature of positive pairs", "temperature of negative pairs"]),
    ],
)
def test_temperatures_are_told_stay_in_bounds_and_resume(
    strategy: str,
    made: Callable[..., TrainData],
    names: list[str],
    tmp_path: Path,
) -> None:
    recipe = SMALL.but(strategy=strategy)

    def stop(done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, made(), folder=tmp_path, progress=stop, checkpoint_seconds=0)
    whole, again = fit(recipe, made()), fit(recipe, made(), folder=tmp_path)
    assert whole.history == again.history
    for name in names:
        for epoch in whole.history:
            least, mean, most = (epoch[f"{name} {end}"] for end in ("least", "mean", "most"))
            low, high = (1e-5, 2.0) if "amcl" in strategy else (0.05, 0.7)
            assert low * (1 - 1e-6) <= least < mean < most <= high * (1 + 1e-6)
        assert whole.history[0] != whole.history[-1]
    kept, back = (f.strategy.state_dict() for f in (whole, again))
    assert all(torch.equal(kept[name], back[name]) for name in kept)


def test_a_loss_that_none_of_them_asks_for_is_refused() -> None:
    for strategy in ("isogclr", "sogclr", "amcl"):
        with pytest.raises(PartError, match="makes no use of objective=dcl"):
            fit(SMALL.but(strategy=strategy, objective="dcl"), views())
    fit(SMALL.but(strategy="multi-head", objective="dcl", epochs=1), views())


def test_items_with_many_like_them_are_warmer_than_those_that_are_alone() -> None:
    """Of 200 items 60 lie about one direction, and the others each in their own."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 24))
    like = np.arange(200) < 60
    x[like] = 0.1 * x[like] + 6 * np.eye(24)[0]
    inputs = Views(x.astype(np.float32), (x[:, None] + 0.05 * rng.normal(size=(200, 4, 24))).astype(np.float32))
    item = torch.arange(200)
    recipe = SMALL.but(strategy="isogclr(rate=0.02)", head="linear-head(dim=24)", epochs=20, learning_rate=1e-4)
    fitted = fit(recipe, TrainData(inputs, inputs, Keys(item, item, item), True))
    value = fitted.strategy.query_temperature.value.numpy()
    assert value[like].mean() > 1.2 * value[~like].mean(), (value[like].mean(), value[~like].mean())
