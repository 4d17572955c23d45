"""Links between items: two processes, blocks of rows, copies, too many, and links out of a user's own graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.data.graph import with_edges
from tellapart.engine import distributed, memory
from tellapart.engine.inputs import Features
from tellapart.engine.prepare import train_data
from tellapart.parts.strategy import _links
from tellapart.parts.strategy._links import Links, products, spread_out
from tellapart.recipe import Recipe
from tests.spawned import by_two

SPECS = ("pamc", "pamc(clusters=3, hops=2, radius=0.6)", "linked(hops=2)")


def _gradients(spec: str, same_space: bool) -> list[torch.Tensor]:
    """Of towers and part, from this process's share of one batch of ten; some of its rows have no link."""
    run = small_run(objective="supcon(temperature=0.3)", batch_size=10, same_space=same_space)
    edges = run.data.extra["edges"]
    run.data = replace(run.data, extra={"edges": edges[(edges[:, :2] > 12).all(1)]})
    part = make("strategy", spec)
    part.begin(run)
    rows = batches(run)[0].reshape(distributed.world(), -1)[distributed.rank()]
    torch.stack(list(part.step(run, rows).values())).sum().backward()
    parameters = [*run.towers.parameters(), *part.parameters()]
    distributed.average_gradients(parameters)
    return [p.grad for p in parameters]


def _all() -> list[list[torch.Tensor]]:
    return [_gradients(spec, same_space) for spec in SPECS for same_space in (False, True)]


@pytest.mark.processes
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    for got, wanted in zip(by_two(_all, tmp_path)[0], _all(), strict=True):
        assert all(x.abs().max() > 0 for x in wanted)
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("objective", ["infonce", "supcon", "sigmoid"])
def test_blocks_of_rows_are_the_whole(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[torch.Tensor]:
        run = small_run(objective=objective, same_space=True)
        part = make("strategy", "linked")
        part.begin(run)
        loss = part.step(run, np.arange(40))["query"]
        loss.backward()
        return [loss.detach(), run.towers["query"].map.weight.grad]

    whole = found()
    monkeypatch.setattr(memory, "BLOCK_ENTRIES", 1)
    for a, b in zip(found(), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_learnt_temperature_reaches_the_objective() -> None:
    run = small_run(objective="infonce", same_space=True)
    run.learnt = torch.nn.ModuleDict({"temperature": _Number()})
    part = make("strategy", "linked")
    part.begin(run)
    part.step(run, np.arange(40))["query"].backward()
    assert run.learnt["temperature"].value.grad.abs() > 0


class _Number(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self) -> torch.Tensor:
        return self.value


def test_products_have_the_gradients_of_plain_products_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_links, "PAIRS_A_BLOCK", 3)
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 4, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(2))
    i, j = torch.tensor([0, 4, 4, 1, 0, 2, 2]), torch.tensor([3, 3, 0, 1, 3, 4, 4])
    assert torch.allclose(products(a, i, b, j), (a @ b.T)[i, j])
    assert torch.autograd.gradcheck(lambda x, y: products(x, i, y, j), (a, b))
    assert torch.autograd.gradcheck(lambda x: products(x, i, x, j), (a,))
    assert products(a, i[:0], b, j[:0]).shape == (0,)


def test_many_copies_of_an_item_are_linked_to_each_other_and_never_to_themselves() -> None:
    run = small_run(same_space=True)
    x = np.eye(40, 20, dtype=np.float32)
    x[20:] = [1] * 20
    same = Features(x)
    run.data = replace(run.data, query=same, document=same, extra={})
    links = Links(run, "pamc", k=3, hops=1)
    place, other, weight = links.of(torch.arange(40))
    assert not links.given and (place != other).all()
    assert (place.bincount(minlength=40) >= 3).all()
    assert torch.allclose(torch.zeros(40).index_add(0, place, weight), torch.ones(40))
    assert (other[place >= 30] >= 20).float().mean() > 0.5


def test_too_many_links_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_links, "MOST_LINKS", 200)
    star = np.stack([np.zeros(29, np.int64), np.arange(1, 30)], 1)
    with pytest.raises(PartError, match="give fewer hops"):
        spread_out(star, 30, 2, "pamc")
    assert spread_out(star, 30, 1, "pamc").nnz == 58


@pytest.mark.parametrize("strategy", ["pamc", "linked"])
def test_links_come_from_a_graph_and_are_made_without_one(strategy: str) -> None:
    rng = np.random.default_rng(0)
    ids = [str(i) for i in range(30)]
    plain = Collection.of({"id": ids, "text": [f"text {i}" for i in ids], "label": [str(i % 3) for i in range(30)]})
    x = rng.normal(size=(30, 6)).astype(np.float32)
    links = [(str(i), "knows", str((i + 3) % 30)) for i in range(30)]
    for made, given in ((with_edges(plain, links), True), (plain, False)):
        data = train_data(made, {"query": x, "document": x}, Recipe(strategy=strategy))
        assert ("edges" in data.extra) == given
        run = small_run()
        run.data = data
        part = make("strategy", strategy)
        run.encode_all = lambda side: torch.nn.functional.normalize(torch.from_numpy(x), dim=1)
        run.dim = lambda: 6
        part.begin(run)
        assert part.links.given == given
        if given:
            assert sorted(part.links.of(torch.tensor([4]))[1].tolist()) == [1, 7]
