"""The linear head in loops: z = unit(S (x - mean) / spread + b)."""

from __future__ import annotations

import math
import random

import numpy as np

CASES: list[dict] = [{}, {"dim": 5, "dropout": 0.3}]


def check(build, options: dict) -> None:
    head = build(**options)
    width, dim, draw = 7, options.get("dim", 256), random.Random(5)
    table = [[draw.gauss(0, 1) for _ in range(width)] for _ in range(dim)]
    bias = [draw.gauss(0, 1) for _ in range(dim)]
    mean = [draw.gauss(0, 1) for _ in range(width)]
    spread = [draw.uniform(0.5, 2) for _ in range(width)]
    x = [[draw.gauss(0, 2) for _ in range(width)] for _ in range(4)]
    z = []
    for row in x:
        out = []
        for j in range(dim):
            total = bias[j]
            for i in range(width):
                total += table[j][i] * (row[i] - mean[i]) / spread[i]
            out.append(total)
        length = math.sqrt(sum(v * v for v in out))
        z.append([v / length for v in out])
    state = {"skip.weight": table, "skip.bias": bias, "mean": mean, "spread": spread}
    given = head.apply({k: np.asarray(v, np.float32) for k, v in state.items()}, np.asarray(x, np.float32))
    np.testing.assert_allclose(given, z, atol=2e-6)
    assert set(head.module(width).state_dict()) == set(state)
