"""Seeded wrong strategies show that each check of the contract can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tellapart.contract import strategy as contract
from tellapart.core.parts import card_of, make


class _Right(nn.Module):
    def begin(self, run) -> None: ...

    def after(self, run) -> None: ...

    def step(self, run, batch):
        q, k = run.encode("query", batch), run.encode("document", batch)
        return {"query": run.contrast(run.pairing(q, k, batch))}


class _Vector(_Right):
    def step(self, run, batch):
        return {"query": run.encode("query", batch).sum(1)}


class _Backward(_Right):
    def step(self, run, batch):
        losses = super().step(run, batch)
        losses["query"].backward(retain_graph=True)
        return losses


class _Deaf(_Right):
    def step(self, run, batch):
        return {"query": super().step(run, batch)["query"].detach().requires_grad_()}


class _Meddling(_Right):
    @torch.no_grad()
    def after(self, run) -> None:
        for p in run.towers.parameters():
            p.mul_(0.99)


class _Dicing(_Right):
    def step(self, run, batch):
        return {"query": super().step(run, batch)["query"] * (1 + torch.rand(()))}


class _Forgetful(_Right):
    count = 0.0

    def step(self, run, batch):
        self.count += 1.0
        return {"query": super().step(run, batch)["query"] * self.count}


class _Backwards(_Right):
    def step(self, run, batch):
        return {"query": -super().step(run, batch)["query"]}


class _OneSided(_Right):
    """Learns from pairs and from queries without a document, and not from documents without a query."""

    def begin(self, run) -> None:
        alone = {side: x for side, x in run.data.alone.items() if side == "query"}
        make("strategy", "rreh").begin(replace(run, data=replace(run.data, alone=alone)))


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (contract.check_a_step_gives_losses, _Vector),
        (contract.check_a_step_gives_losses, _Backward),
        (contract.check_a_step_gives_losses, _Deaf),
        (contract.check_towers_move_by_the_optimiser_alone, _Meddling),
        (contract.check_same_seed_same_losses, _Dicing),
        (contract.check_state_restores_to_the_bit, _Forgetful),
        (contract.check_training_learns, _Backwards),
        (contract.check_closed_form_learns, _Right),
        (contract.check_unpaired_learns, _Right),
        (contract.check_unpaired_learns, lambda: make("strategy", "cca")),
        (contract.check_unpaired_learns, _OneSided),
    ],
)
def test_each_check_can_fail(check, wrong) -> None:
    with pytest.raises(AssertionError):
        check(lambda **options: wrong())


def test_a_right_strategy_passes() -> None:
    for check in contract.checks(card_of("strategy", "two-tower")):
        check(lambda **options: _Right())


def test_inner_strategies_restore_too() -> None:
    contract.check_state_restores_to_the_bit(lambda **o: make("strategy", "adore(start='momentum-queue', before=0.6)"))
