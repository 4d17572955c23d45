"""Oracle: both stages by loops, the second against a bank that was made once and stands still."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import composed_run, small_run
from tellapart.core.errors import PartError
from tests.oracles.combiner import ROWS, TEMPERATURE, check_refusals, combined, moved, planted, vectors

CASES: list[dict] = [{}, {"hidden": 4, "first": 0.25}]


def check(build, options: dict) -> None:
    run, answers, group = planted()
    part, plain = build(**options), build(**options)
    run.steps = 40
    part.begin(run)
    moved(part)
    switch = round(40 * options.get("first", 0.5))
    state = {name: x.detach().double().numpy() for name, x in part.composer.state_dict().items()}
    run.step = switch - 1
    assert list(part.step(run, ROWS)) == ["in batch"] and not part.filled
    check_first_stage(plain, options)
    run.step = switch
    losses = part.step(run, ROWS)
    assert list(losses) == ["all pictures"] and part.filled
    expected = by_loops(run, state, answers, group)
    assert math.isclose(losses["all pictures"].item(), expected, rel_tol=1e-4)
    losses["all pictures"].backward()
    assert all(p.grad is None for p in run.towers["document"].parameters())
    assert run.towers["query"].map.weight.grad.abs().sum() > 0
    with torch.no_grad():
        run.towers["document"].map.weight.add_(1.0)
    run.step += 1
    assert math.isclose(part.step(run, ROWS)["all pictures"].item(), expected, rel_tol=1e-4), (
        "the bank must stand still"
    )
    check_refusals(build)
    check_average(build)


def check_first_stage(part, options: dict) -> None:
    """It is `combiner`, whose oracle says what that is."""
    from tellapart.core.parts import make

    run, other = planted()[0], planted()[0]
    run.steps = other.steps = 40
    same = make("strategy", "combiner", hidden=options.get("hidden", 512))
    for each, its in ((part, run), (same, other)):
        torch.manual_seed(2)
        each.begin(its)
        moved(each)
    torch.testing.assert_close(part.step(run, ROWS)["in batch"], same.step(other, ROWS)["query"])


def by_loops(run, state, answers, group) -> float:
    everyone = np.arange(len(run.data))
    texts, targets, references = vectors(run, everyone)
    extra = run.data.extra
    bank = {}
    for row in everyone:
        target, own = (int(number) for number in extra["pictures"][row])
        bank[target] = targets[row]
        if own >= 0:
            bank.setdefault(own, references[row])
    assert len(bank) > len(set(extra["pictures"][:, 0].tolist()))
    losses, ignored = [], 0
    for row in ROWS:
        own = int(extra["pictures"][row, 1])
        q = texts[row] if own < 0 else combined(state, bank[own], texts[row])
        right = {int(a) for a in answers[extra["asked"][row]] if a >= 0}
        positives, rest = [], 0.0
        for picture, z in bank.items():
            score = sum(float(a) * float(b) for a, b in zip(q, z, strict=True)) / TEMPERATURE
            if picture in right:
                positives.append(score)
            elif group[picture] >= 0 and group[picture] == int(run.data.keys.group[row]):
                ignored += 1
            else:
                rest += math.exp(score)
        losses.append(sum(-math.log(math.exp(s) / (math.exp(s) + rest)) for s in positives) / len(positives))
    assert ignored
    return sum(losses) / len(losses)


def check_average(build) -> None:
    run = composed_run(average=0.6)
    with pytest.raises(PartError, match=r"average=0\.6"):
        build().begin(run)
    build(first=0.3).begin(run)
    with pytest.raises(PartError, match="reference picture"):
        build().begin(replace(small_run()))
