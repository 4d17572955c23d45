"""The MLP head in loops: z = unit(S x' + B relu(A x' + a) + b), x' = (x - mean) / spread."""

from __future__ import annotations

import math
import random

import numpy as np

CASES: list[dict] = [{}, {"dim": 5, "hidden": 3, "dropout": 0.0}]


def check(build, options: dict) -> None:
    head = build(**options)
    width, dim, hidden, draw = 7, options.get("dim", 256), options.get("hidden", 512), random.Random(6)

    def table(rows: int, columns: int) -> list[list[float]]:
        return [[draw.gauss(0, 1) for _ in range(columns)] for _ in range(rows)]

    into, skip, out = table(hidden, width), table(dim, width), table(dim, hidden)
    a, b = table(1, hidden)[0], table(1, dim)[0]
    mean, spread = table(1, width)[0], [draw.uniform(0.5, 2) for _ in range(width)]
    x = table(4, width)
    z = []
    for row in x:
        seen = [(row[i] - mean[i]) / spread[i] for i in range(width)]
        inner = []
        for h in range(hidden):
            value = a[h]
            for i in range(width):
                value += into[h][i] * seen[i]
            inner.append(value if value > 0 else 0.0)
        vector = []
        for j in range(dim):
            value = b[j]
            for i in range(width):
                value += skip[j][i] * seen[i]
            for h in range(hidden):
                value += out[j][h] * inner[h]
            vector.append(value)
        length = math.sqrt(sum(v * v for v in vector))
        z.append([v / length for v in vector])
    state = {
        "skip.weight": skip, "skip.bias": b, "inner.weight": into, "inner.bias": a, "outer.weight": out,
        "mean": mean, "spread": spread,
    }  # fmt: skip
    given = head.apply({k: np.asarray(v, np.float32) for k, v in state.items()}, np.asarray(x, np.float32))
    np.testing.assert_allclose(given, z, atol=5e-6)
    assert set(head.module(width).state_dict()) == set(state)
