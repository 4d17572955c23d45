"""Oracle: the tower by loops over tokens, heads and numbers; absent tokens, the end token, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.core.errors import DataError, PartError

CASES: list[dict] = [{}, {"dim": 6, "depth": 3, "tokens": 3}, {"dim": 64, "depth": 1, "tokens": 2}]
EACH = 5


def dense(state, name: str, x: list[float]) -> list[float]:
    weight, bias = state[f"{name}.weight"].tolist(), state[f"{name}.bias"].tolist()
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def normed(state, name: str, x: list[float]) -> list[float]:
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    rows = zip(x, state[f"{name}.weight"].tolist(), state[f"{name}.bias"].tolist(), strict=True)
    return [(v - mean) / spread * w + b for v, w, b in rows]


def attended(state, name: str, asking: list[float], asked: list[list[float]], size: int) -> list[float]:
    q = dense(state, f"{name}.q", asking)
    k, v = ([dense(state, f"{name}.{part}", x) for x in asked] for part in "kv")
    whole: list[float] = []
    for start in range(0, len(q), size):
        at = range(start, start + size)
        scores = [math.exp(sum(q[i] * other[i] for i in at) / math.sqrt(size)) for other in k]
        whole += [sum(s * other[i] for s, other in zip(scores, v, strict=True)) / sum(scores) for i in at]
    return dense(state, f"{name}.out", whole)


def entered(state, prefix: str, row: np.ndarray, tokens: int) -> list[list[float]]:
    """The tokens of one item that are there, in the width of the tower."""
    found = []
    for at, token in enumerate(row.reshape(tokens, -1).tolist()):
        if any(token):
            seen = zip(token, state[f"{prefix}mean"].tolist(), state[f"{prefix}spread"].tolist(), strict=True)
            h = dense(state, f"{prefix}enter", [(v - m) / s for v, m, s in seen])
            found.append([a + b for a, b in zip(h, state[f"{prefix}position"][at].tolist(), strict=True)])
    return found


def through(state, tokens: list[list[float]], depth: int) -> np.ndarray:
    """The vector of tokens of whatever kinds: all layers for all tokens, and the last token's state."""
    dim = len(state["trunk.end"])
    size = 32 if dim % 32 == 0 else dim
    x = [*tokens, state["trunk.end"].tolist()]
    for layer in range(depth):
        name = f"trunk.layers.{layer}"
        y = [normed(state, f"{name}.norm1", h) for h in x]
        x = [
            [a + b for a, b in zip(h, attended(state, f"{name}.attention", one, y, size), strict=True)]
            for h, one in zip(x, y, strict=True)
        ]
        for at, h in enumerate(x):
            inner = [max(0.0, v) for v in dense(state, f"{name}.wide", normed(state, f"{name}.norm2", h))]
            x[at] = [a + b for a, b in zip(h, dense(state, f"{name}.narrow", inner), strict=True)]
    z = np.asarray(normed(state, "trunk.norm", x[-1]))
    return z / math.sqrt(float((z**2).sum()))


def check(build, options: dict) -> None:
    part = build(**options)
    tokens, depth = options.get("tokens", 4), options.get("depth", 2)
    torch.manual_seed(3)
    module = part.module(tokens * EACH)
    x = 1 + 2 * torch.randn(6, tokens, EACH)
    x[1, -1] = 0
    x[2, 0] = 0
    x[3] = 0
    module.standardise(x.flatten(1))
    held = np.asarray([row for row in x.flatten(0, 1).tolist() if any(row)])
    assert len(held) < 6 * tokens
    np.testing.assert_allclose(module.mean.numpy(), held.mean(0), atol=1e-5)
    np.testing.assert_allclose(module.spread.numpy(), held.std(0), atol=1e-4)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn_like(p))
    state = {name: v.numpy() for name, v in module.state_dict().items()}
    rows = x.flatten(1).numpy()
    given = part.apply(state, rows)
    assert given.shape == (6, options.get("dim", 128))
    for row, z in zip(rows, given, strict=True):
        expected = through(state, entered(state, "", row, tokens), depth)
        np.testing.assert_allclose(z, expected, atol=2e-5)
    with torch.no_grad():
        np.testing.assert_allclose(module.eval()(x.flatten(1)).numpy(), given, atol=2e-5)
    assert part.apply(state, rows[:0]).shape == (0, options.get("dim", 128))
    with pytest.raises(PartError, match="not its own"):
        part.apply({"x": rows}, rows)
    with pytest.raises(DataError, match="array of shape"):
        part.apply(state, rows[:, :-1])
    with pytest.raises(DataError, match="not finite"):
        part.apply(state, rows * np.nan)
    with pytest.raises(PartError, match="tokens"):
        part.module(tokens * EACH + 1)
    with pytest.raises(PartError, match="exported"):
        part.layers(state)
    with pytest.raises(PartError, match="closed form"):
        module.place(torch.zeros(1, 2), torch.zeros(1))
