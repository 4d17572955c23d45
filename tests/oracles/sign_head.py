"""The signs of a linear map in loops, and the gradient of the unit vector by differences."""

from __future__ import annotations

import math
import random

import numpy as np
import torch

CASES: list[dict] = [{}, {"dim": 5}]


def check(build, options: dict) -> None:
    head = build(**options)
    width, dim, draw = 7, options.get("dim", 64), random.Random(6)
    table = [[draw.gauss(0, 1) for _ in range(width)] for _ in range(dim)]
    bias = [draw.gauss(0, 1) for _ in range(dim)]
    bias[0], table[0] = 0.0, [0.0] * width
    mean = [draw.gauss(0, 1) for _ in range(width)]
    spread = [draw.uniform(0.5, 2) for _ in range(width)]
    x = [[draw.gauss(0, 2) for _ in range(width)] for _ in range(4)]
    sums = [
        [bias[j] + sum(table[j][i] * (row[i] - mean[i]) / spread[i] for i in range(width)) for j in range(dim)]
        for row in x
    ]
    expected = [[(1 if y >= 0 else -1) / math.sqrt(dim) for y in row] for row in sums]
    state = {"skip.weight": table, "skip.bias": bias, "mean": mean, "spread": spread}
    arrays = {name: np.asarray(value, np.float32) for name, value in state.items()}
    given = np.asarray(x, np.float32)
    assert np.abs(head.apply(arrays, given) - expected).max() < 1e-7
    module = head.module(width)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    z = module(torch.from_numpy(given))
    assert np.abs(z.detach().numpy() - expected).max() < 1e-7
    pull = [[draw.gauss(0, 1) for _ in range(dim)] for _ in x]
    (z * torch.tensor(pull)).sum().backward()

    def soft(place: int, more: float) -> float:
        total = 0.0
        for row, pulled in zip(sums, pull, strict=True):
            y = [value + (more if j == place else 0.0) for j, value in enumerate(row)]
            length = math.sqrt(sum(v * v for v in y))
            total += sum(a * b / length for a, b in zip(y, pulled, strict=True))
        return total

    for j in range(0, dim, 3):
        slope = (soft(j, 1e-4) - soft(j, -1e-4)) / 2e-4
        assert abs(module.skip.bias.grad[j].item() - slope) < 1e-4 * max(1.0, abs(slope))
