"""Strategies with prototypes: two processes have the gradients of one; what k-means and soft targets come to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tellapart.contract.strategy import batches, small_run, viewed_run
from tellapart.core.parts import make
from tellapart.engine import distributed
from tellapart.parts.strategy._prototypes import Prototypes, averages, cross_entropy, softened
from tests.spawned import by_two

SPECS = (
    "swav(prototypes=6, views=3, frozen=0)", "swav(prototypes=30, queue=20, queue_from=0)", "mlcd(clusters=8)",
    "protoclip(clusters=4, start=0)", "protoclip(clusters=4, start=0, episode=20, translate=False)",
)  # fmt: skip
NONE = 1e9


def _gradients(spec: str) -> list[torch.Tensor]:
    """Of towers and part at the third step, from this process's share of batches of ten."""
    run = viewed_run(batch_size=10) if spec.startswith("swav") else small_run(batch_size=10)
    part = make("strategy", spec)
    part.begin(run)
    run.epoch = 1
    for whole in batches(run)[:3]:
        rows = whole.reshape(distributed.world(), -1)[distributed.rank()]
        losses = part.step(run, rows)
        part.after(run)
        run.step += 1
    torch.stack(list(losses.values())).sum().backward()
    parameters = [*run.towers.parameters(), *part.parameters()]
    distributed.average_gradients(parameters)
    return [torch.full_like(p, NONE) if p.grad is None else p.grad for p in parameters]


def _all() -> list[list[torch.Tensor]]:
    return [_gradients(spec) for spec in SPECS]


@pytest.mark.processes
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    for spec, got in zip(SPECS, by_two(_all, tmp_path)[0], strict=True):
        wanted = _gradients(spec)
        assert all(0 < x.abs().max() < NONE for x in wanted[:2]), spec
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6, msg=lambda m, spec=spec: f"{spec}: {m}")


def test_an_empty_cluster_has_a_mean_of_zero_and_no_influence() -> None:
    x = torch.nn.functional.normalize(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    means = averages(x, torch.tensor([0, 0, 2, 2, 2, 0]), 4)
    assert torch.allclose(means[0], x[[0, 1, 5]].mean(0)) and torch.allclose(means[2], x[2:5].mean(0))
    assert (means[[1, 3]] == 0).all()


def test_targets_go_from_the_label_alone_to_all_clusters_alike() -> None:
    c, labels = torch.eye(3) * torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 2])
    assert torch.equal(softened(c, labels, 0.0), torch.eye(3)[labels])
    assert torch.allclose(softened(c, labels, 1e6), torch.full((2, 3), 1 / 3), atol=1e-4)
    assert softened(c, labels, 0.01).argmax(1).tolist() == [0, 2]


def test_rows_that_are_not_known_count_for_nothing() -> None:
    run = small_run()
    logits, targets = torch.randn(4, 3, requires_grad=True), torch.eye(4, 3)
    some = cross_entropy(run, logits, targets, torch.tensor([True, False, True, False]))
    assert torch.allclose(some, cross_entropy(run, logits[[0, 2]], targets[[0, 2]]))
    none = cross_entropy(run, logits, targets, torch.zeros(4, dtype=torch.bool))
    assert none == 0 and (torch.autograd.grad(none, logits)[0] == 0).all()


def test_prototypes_count_by_direction_and_can_be_held() -> None:
    bank, z = Prototypes(5, 3, seed=1), torch.eye(3).requires_grad_()
    before = bank(z)
    with torch.no_grad():
        bank.vectors.mul_(3.0)
    assert torch.allclose(bank(z), before) and (before.abs() <= 1).all()
    bank(z, frozen=True).sum().backward()
    assert bank.vectors.grad is None and z.grad.abs().sum() > 0
