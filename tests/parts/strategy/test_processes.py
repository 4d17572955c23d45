"""Strategies whose batches or losses go over all processes: two have the gradients of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tellapart.contract.strategy import (
    batches,
    caption_run,
    composed_run,
    labelled_run,
    negative_run,
    product_run,
    region_run,
    sided_run,
    small_run,
    sounded_run,
    staged_run,
    viewed_run,
)
from tellapart.core.parts import make
from tellapart.engine import distributed
from tests.spawned import by_two

SPECS = (
    "supremix(window=1.0, mixes=4)", "core-tuning(projection=6)", "mcl(clusters=2)", "villa", "villa(regions=2)",
    "dreamlip", "mgca", "glscl(diversity=1.0, queries=3)", "hydra-pairs(hidden=6)", "meow(clusters=4)", "adameow",
    "symile", "symile(hidden=0.5)", "pairwise(hidden=0.3)", "samestyle-vl", "dbl",
    'episodes(shots=1, whole="icnn(k=2)")', "whitenedcse(channels=2)",
    "degla(warmup=0.0, momentum=0.5, image_weight=1.0, text_weight=1.0)",
    "tefal", "combiner", "spn4cir", "magiclens(width=8)", "mur-cir(strength=2.0)", "mur-pairs(strength=2.0)", "rtd",
    "rtd(first=0.7, phi=0.1)", "rtd(first=0.1, phi=0.8)", "palm(prototypes=3, k=2)",
)  # fmt: skip
NONE = 7.0


def _gradients(spec: str, same_space: bool) -> list[torch.Tensor]:
    """Of towers and part, from this process's share of one batch of ten."""
    by_part = {
        "mcl": staged_run,
        "hydra-pairs": labelled_run,
        "episodes": labelled_run,
        "symile": sided_run,
        "pairwise": sided_run,
        "samestyle-vl": product_run,
        "whitenedcse": viewed_run,
        "degla": negative_run,
        "rtd": caption_run,
    }
    by_part |= dict.fromkeys(("combiner", "spn4cir", "magiclens", "mur-cir"), composed_run)
    by_part["tefal"] = sounded_run
    by_part |= dict.fromkeys(("villa", "dreamlip", "mgca", "glscl"), region_run)
    runs = by_part.get(spec.split("(")[0], small_run)
    alone = (labelled_run, product_run, viewed_run, negative_run, composed_run, caption_run)
    sides = {} if runs in alone else {"same_space": same_space}
    run = runs(objective="supcon(temperature=0.3)", batch_size=10, **sides)
    part = make("strategy", spec)
    part.begin(run)
    if spec.startswith("degla"):  # a teacher that is not the towers
        with torch.no_grad():
            for p in part.copies.parameters():
                p.mul_(1.3).add_(0.1)
    run.step = 4 if spec in ("mcl(clusters=2)", "villa(regions=2)") else 0
    if spec.startswith("villa") and run.step:
        run.step = 3
        part.after(run)
        run.step = 4
    if spec.startswith(("spn4cir", "mur", "rtd")):
        run.step = 5
    rows = batches(run)[0].reshape(distributed.world(), -1)[distributed.rank()]
    torch.stack(list(part.step(run, rows).values())).sum().backward()
    parameters = [*run.towers.parameters(), *part.parameters()]
    distributed.average_gradients(parameters)
    return [torch.full_like(p, NONE) if p.grad is None else p.grad for p in parameters]


def _all() -> list[list[torch.Tensor]]:
    return [_gradients(spec, same_space) for spec in SPECS for same_space in (False, True)]


@pytest.mark.processes
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    for got, wanted in zip(by_two(_all, tmp_path)[0], _all(), strict=True):
        assert any(0 < x.abs().max() < NONE for x in wanted)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(got, wanted, strict=True))
