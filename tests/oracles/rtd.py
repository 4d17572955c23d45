"""Oracle: the three stages by loops, with rows of one caption and rows of no rewrite; what stands still in each."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import caption_run, small_run
from tellapart.core.errors import PartError
from tests.oracles.combiner import combined, unit

CASES: list[dict] = [{}, {"first": 0.25, "phi": 0.5, "noise": 0.3, "hidden": 4}, {"noise": 0.0}]
TEMPERATURE, STEPS = 0.2, 20
ROWS = np.asarray([0, 1, 2, 5, 7, 10, 12, 17, 27, 33])


class Drawn:
    """Draws that are planted: a share of the noise, and which rewrite."""

    def __init__(self, seed: int, keys: torch.Tensor) -> None:
        self.keys = keys

    def uniform(self, width: int, *, stream: int = 0) -> torch.Tensor:
        return (self.keys.float()[:, None] * 0.37 + stream * 0.11) % 1


def phi(state, x: np.ndarray) -> np.ndarray:
    inner = [max(0.0, float(np.dot(w, x)) + b) for w, b in zip(state["enter.weight"], state["enter.bias"], strict=True)]
    out = [float(np.dot(w, inner)) + b for w, b in zip(state["leave.weight"], state["leave.bias"], strict=True)]
    return x + np.asarray(out)


def mean_loss(queries: list, mine: list, columns: list, codes: list) -> float:
    losses = []
    for q, code in zip(queries, mine, strict=True):
        scores = [math.exp(float(np.dot(q, k)) / TEMPERATURE) for k in columns]
        right = [s for s, other in zip(scores, codes, strict=True) if other == code]
        wrong = sum(s for s, other in zip(scores, codes, strict=True) if other != code)
        losses.append(sum(-math.log(s / (s + wrong)) for s in right) / len(right))
    return sum(losses) / len(losses)


def check(build, options: dict) -> None:
    first, share = options.get("first", 0.4), options.get("phi", 0.2)
    run = caption_run(objective=f"infonce(temperature={TEMPERATURE})", both_ways=False)
    run.steps = STEPS
    part = build(**options)
    part.begin(run)
    for x in part.composer.parameters():
        x.data.add_(0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel())))
    state = {name: x.detach().double().numpy() for name, x in part.composer.state_dict().items()}
    with torch.no_grad():
        e, z = (run.encode(side, ROWS).double().numpy() for side in ("query", "document"))
        every = run.encode("query", np.arange(len(run.data))).double().numpy()
        words = run.encode("phrase", np.arange(3), tower=run.towers["query"]).double().numpy()
    shaking = np.random.default_rng(3).normal(size=e.shape)
    share_of = [(float(row) * 0.37 + 33 * 0.11) % 1 for row in ROWS]
    noisy = [
        v + options.get("noise", 1.0) * u * g / math.sqrt(len(v)) for v, u, g in zip(e, share_of, shaking, strict=True)
    ]
    codes = [int(run.data.extra["caption"][row]) for row in ROWS]
    assert len(set(codes)) < len(codes)
    with pytest.MonkeyPatch.context() as patch:
        module = sys.modules[type(part).__module__]
        patch.setattr(module, "RowDraws", Drawn)
        patch.setattr(module, "normal", lambda its, width: torch.from_numpy(shaking).float())
        for step in (0, round(first * STEPS) - 1):
            run.step = step
            assert sum(x.item() for x in part.step(run, ROWS).values()) == pytest.approx(pairs(run, e, z), rel=1e-4)
        run.step = round(first * STEPS)
        got = part.step(run, ROWS)
        queries = [unit(phi(state, v) + words[0]) for v in noisy]
        assert got["phi"].item() == pytest.approx(mean_loss(queries, codes, list(e), codes), rel=1e-4)
        still(run, part, got["phi"], learning="enter", resting="out")
        run.step = round((first + share) * STEPS)
        got = part.step(run, ROWS)
        changed, goals, made, alone = [], [], [], 0
        for i, row in enumerate(ROWS):
            own = [k for k in range(2) if run.data.extra["change"][row, k] >= 0]
            if not own:
                alone += 1
                made.append((e[i], codes[i]))
                continue
            pick = own[int((float(row) * 0.37 + 34 * 0.11) % 1 * len(own))]
            target = int(run.data.extra["changed"][row, pick])
            goal = int(run.data.extra["caption"][target])
            made.append((every[target], goal))
            changed.append(combined(state, phi(state, noisy[i]), words[run.data.extra["change"][row, pick]]))
            goals.append(goal)
        assert alone and len(changed) > 5
        plain = [combined(state, phi(state, v), words[0]) for v in noisy]
        columns, names = [k for k, _ in made] + list(e), [code for _, code in made] + codes
        expected = mean_loss(changed + plain, goals + codes, columns, names)
        assert got["text"].item() == pytest.approx(expected, rel=1e-4)
        still(run, part, got["text"], learning="out", resting="enter")
    check_refusals(build)


def pairs(run, e: np.ndarray, z: np.ndarray) -> float:
    """Both directions of in-batch softmax; members of one group are no negatives."""
    groups, found = run.data.keys.group[ROWS].tolist(), 0.0
    for rows, columns in ((e, z), (z, e)):
        for i, q in enumerate(rows):
            scores = [math.exp(float(np.dot(q, k)) / TEMPERATURE) for k in columns]
            counted = [s for j, s in enumerate(scores) if j == i or groups[j] != groups[i]]
            found += -math.log(scores[i] / sum(counted)) / len(rows) / 2
    return found


def still(run, part, loss, *, learning: str, resting: str) -> None:
    part.zero_grad()
    run.towers.zero_grad()
    loss.backward()
    assert all(p.grad is None for p in run.towers.parameters()), "the towers must stand still"
    named = dict(part.composer.named_parameters())
    assert named[f"{learning}.weight"].grad.abs().sum() > 0 and named[f"{resting}.weight"].grad is None


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="captions"):
        build().begin(small_run())
    with pytest.raises(PartError, match="no steps"):
        build(first=0.6, phi=0.5).begin(caption_run())
    with pytest.raises(PartError, match=r"average=0\.6"):
        build().begin(caption_run(average=0.6))
    run = caption_run()
    run.data = replace(run.data, phrase=None)
    with pytest.raises(PartError, match="captions"):
        build().begin(run)
