"""The same gradients from 1, 2 and 4 processes, for every objective."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from tellapart.core.parts import cards
from tellapart.core.relation import Keys
from tellapart.engine import distributed
from tellapart.engine.memory import Chain, Pairing
from tellapart.recipe import LEARNABLE
from tests.spawned import together

N, D = 24, 6


def _vectors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    return (
        torch.randn(N, D, generator=g, dtype=torch.float64),
        torch.randn(N, D, generator=g, dtype=torch.float64),
        torch.rand(N, N, generator=g, dtype=torch.float64),
    )


def _gradients(objective: str, relate: str, augment: str) -> list[torch.Tensor]:
    """Gradients of two linear towers from this process's share of one global batch."""
    x, y, teacher = _vectors()
    torch.manual_seed(0)
    towers = [torch.nn.Linear(D, 5, bias=False).double() for _ in range(2)]
    share = torch.arange(N).view(distributed.world(), -1)[distributed.rank()]
    normalize = torch.nn.functional.normalize
    q, k = (normalize(t(v[share]), dim=1) for t, v in zip(towers, (x, y), strict=True))
    keys = Keys(share, share // 2, share % 20)
    guide = (normalize(x[share], dim=1), normalize(y[share], dim=1))
    rows, cols = {"teacher": teacher[share], "guide_q": guide[0]}, {"guide_k": guide[1], "mate": q}
    chain = Chain.of(objective, relate=relate, augment=augment)
    learnt = {
        option.name: torch.nn.Parameter(torch.tensor(option.default, dtype=torch.float64))
        for option in cards("objective")[objective].options
        if option.name in LEARNABLE
    }
    pairing = Pairing(q, k, keys, keys, rows=rows, cols=cols, options=learnt)
    chain.loss(pairing, seed=11, block_rows=3).backward()
    parameters = [*(p for t in towers for p in t.parameters()), *learnt.values()]
    distributed.average_gradients(parameters)
    return [p.grad for p in parameters]


def _cases() -> list[tuple[str, str, str]]:
    cases = [(name, "", "") for name in cards("objective")]
    cases += [("infonce", name, "") for name in cards("relate")]
    return cases + [("infonce", "", name) for name, card in cards("augment").items() if "features" in card.traits]


def _process(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    found = {case: _gradients(*case) for case in _cases()}
    unequal = distributed.same_everywhere(rank)
    if rank == 0:
        torch.save({"gradients": found, "unequal": unequal}, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.processes
@pytest.mark.parametrize("world", [2, 4])
def test_processes_agree_with_one(world: int, tmp_path: Path) -> None:
    together(_process, world, world, str(tmp_path))
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert found["unequal"] is False
    for case, gradients in found["gradients"].items():
        for many, one in zip(gradients, _gradients(*case), strict=True):
            assert one.abs().max() > 0, case
            torch.testing.assert_close(many, one, rtol=1e-6, atol=1e-9, msg=lambda m, case=case: f"{case}: {m}")


@pytest.mark.processes
def test_a_wrong_gather_would_be_seen(tmp_path: Path) -> None:
    together(_wrong, 2, 2, str(tmp_path))
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert not torch.allclose(found[1], _gradients("infonce", "", "")[1], rtol=1e-3)


def _wrong(rank: int, world: int, folder: str) -> None:
    """The columns of all, but gradient only through one's own: the direction is wrong, and training would not tell."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    right = distributed.gather

    def own_slot_only(x: torch.Tensor) -> torch.Tensor:
        parts = list(right(x.detach()).chunk(world))
        parts[rank] = x
        return torch.cat(parts)

    distributed.gather = own_slot_only
    found = _gradients("infonce", "", "")
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()
