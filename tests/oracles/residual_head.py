"""The residual head in loops: z = unit(x + S (x - mean) / spread + b), cut or filled with zeros; at first unit(x)."""

from __future__ import annotations

import math
import random

import numpy as np

CASES: list[dict] = [{}, {"dim": 5}, {"dim": 7}]
WIDTH = 7


def check(build, options: dict) -> None:
    head = build(**options)
    dim, draw = options.get("dim", 384), random.Random(5)
    table = [[draw.gauss(0, 1) for _ in range(WIDTH)] for _ in range(dim)]
    bias = [draw.gauss(0, 1) for _ in range(dim)]
    mean = [draw.gauss(0, 1) for _ in range(WIDTH)]
    spread = [draw.uniform(0.5, 2) for _ in range(WIDTH)]
    x = [[draw.gauss(0, 2) for _ in range(WIDTH)] for _ in range(4)]

    def expected(scale: float) -> list[list[float]]:
        z = []
        for row in x:
            out = []
            for j in range(dim):
                total = (row[j] if j < WIDTH else 0.0) + scale * bias[j]
                for i in range(WIDTH):
                    total += scale * table[j][i] * (row[i] - mean[i]) / spread[i]
                out.append(total)
            length = math.sqrt(sum(v * v for v in out))
            z.append([v / length for v in out])
        return z

    state = {"skip.weight": table, "skip.bias": bias, "mean": mean, "spread": spread}
    given = head.apply({k: np.asarray(v, np.float32) for k, v in state.items()}, np.asarray(x, np.float32))
    np.testing.assert_allclose(given, expected(1.0), atol=5e-6)
    import torch

    module = head.module(WIDTH)
    assert set(module.state_dict()) == set(state)
    with torch.no_grad():
        module.standardise(torch.tensor(x))
        np.testing.assert_allclose(module(torch.tensor(x)).numpy(), expected(0.0), atol=5e-6)
        weight, shift = torch.tensor(table)[: min(dim, 3)], torch.tensor(bias)[: min(dim, 3)]
        module.place(weight, shift)
        linear = torch.nn.functional.linear(module.standardised(torch.tensor(x)), weight, shift)
        linear = torch.nn.functional.normalize(linear, dim=1)
        torch.testing.assert_close(module(torch.tensor(x))[:, : len(weight)], linear, atol=2e-5, rtol=1e-4)
