"""The steps from noise to worths in loops; the network itself is that of the oracle of attention-reranker."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.oracles.attention_reranker import NAMES, chances, check_rank, world, worths

CASES: list[dict] = [
    {},
    {"candidates": 7, "weight": 0.3, "temperature": 0.5, "steps": 3, "epochs": 3, "seed": 4},
]
STEPS = 1000


def left(t):
    """What is left of the clean worths' variance after t + 1 steps."""
    share = 1.0
    for s in range(t + 1):
        level = [math.cos(((i / STEPS) + 0.008) / 1.008 * math.pi / 2) ** 2 for i in (s, s + 1)]
        share *= 1 - min(1 - level[1] / level[0], 0.999)
    return share


def check(build, options):
    def generated(part, w, q, k):
        x = [float(v) for v in part.noise_[: len(k)]]
        count = options.get("steps", 50)
        at = [round(v) for v in np.linspace(STEPS - 1, 0, count)]
        for place, t in enumerate(at):
            y = [min(1.0, max(-1.0, v)) for v in worths(w, x, t, q, k)]
            now, after = left(t), left(at[place + 1]) if place + 1 < count else 1.0
            noise = [(a - math.sqrt(now) * b) / math.sqrt(1 - now) for a, b in zip(x, y, strict=True)]
            x = [math.sqrt(after) * b + math.sqrt(1 - after) * e for b, e in zip(y, noise, strict=True)]
        return chances(x)

    part = check_rank(build, options, generated)
    assert len(part.noise_) == options.get("candidates", 20)
    _loss(part, options)


def _loss(part, options):
    q, k, _ = world(1, n=5)
    w = {name: getattr(part, f"{name}_") for name in NAMES}
    there = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    among = np.stack([k[[0, 1, 0]], k[[1, 2, 3]]])
    given = {name: torch.from_numpy(np.asarray(value)) for name, value in w.items()}
    asked = torch.from_numpy(q[:2]).float(), torch.from_numpy(among).float(), there
    loss = part._loss(given, *asked, torch.Generator().manual_seed(3))
    draw = torch.Generator().manual_seed(3)
    step = torch.randint(STEPS, (2,), generator=draw).tolist()
    noise = torch.randn((2, 3), generator=draw).tolist()
    total = 0.0
    for i, count in ((0, 2), (1, 3)):
        clean = [1.0, 0.0, 0.0]
        share = left(step[i])
        noisy = [math.sqrt(share) * clean[j] + math.sqrt(1 - share) * noise[i][j] for j in range(count)]
        logits = [v / options.get("temperature", 0.01) for v in worths(w, noisy, step[i], q[i], among[i][:count])]
        total -= math.log(max(chances(logits)[0], 1e-300))
    assert loss.item() == pytest.approx(total / 2, rel=1e-3, abs=1e-4)
