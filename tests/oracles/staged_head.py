"""Oracle: the vector by loops over stages, what a step leaves without a gradient, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.core.errors import PartError
from tellapart.core.parts import make

CASES: list[dict] = [{}, {"dim": 10, "stages": 4, "block": "mlp-head(hidden=6, dropout=0.5)"}, {"dim": 3, "stages": 1}]


def check(build, options: dict) -> None:
    dim, stages = options.get("dim", 256), options.get("stages", 3)
    part = build(**options)
    torch.manual_seed(1)
    module = part.module(7)
    x = 3 + 2 * torch.randn(5, 7)
    module.standardise(x)
    for stage in range(stages):
        module.begin(stage)
        state = {name: v.numpy() for name, v in module.state_dict().items()}
        expected, used = np.zeros((5, dim)), 0
        for number in range(stages):
            width = dim // stages + (number < dim % stages)
            if number <= stage:
                for i, row in enumerate(x.tolist()):
                    expected[i, used : used + width] = _head(state, f"blocks.{number}.", row)
            used += width
        expected /= math.sqrt(stage + 1)
        assert np.allclose(part.apply(state, x.numpy()), expected, atol=1e-5), (options, stage)
        with torch.no_grad():
            assert np.allclose(module.eval()(x).numpy(), expected, atol=1e-5)
        module.train()
        module.zero_grad()
        y = module(x)
        before = sum(dim // stages + (n < dim % stages) for n in range(stage))
        assert np.allclose(y[:, :before].detach().numpy(), expected[:, :before], atol=1e-5), (
            "a frozen head drops values"
        )
        (y * torch.randn_like(y)).sum().backward()
        for name, p in module.named_parameters():
            moves = name.startswith(f"blocks.{stage}.")
            assert (p.grad is not None) == moves, (options, stage, name)
    with pytest.raises(PartError, match="not the tensors of a staged-head"):
        part.apply({**state, "stage": np.array(stages)}, x.numpy())
    with pytest.raises(PartError, match="not exported"):
        part.layers(state)
    with pytest.raises(PartError, match="closed form"):
        module.place(torch.zeros(1, 7), torch.zeros(1))
    with pytest.raises(PartError, match="too few for 5 stages"):
        build(dim=4, stages=5).module(7)
    for wrong in ("staged-head", "lite0"):
        with pytest.raises(PartError):
            make("encode", "staged-head", block=wrong).module(7)


def _head(state, prefix, row):
    """unit(S x' + b [+ B relu(A x' + a)]) of one row."""
    own = {name.removeprefix(prefix): v.astype(float) for name, v in state.items() if name.startswith(prefix)}
    scaled = [(v - m) / s for v, m, s in zip(row, own["mean"], own["spread"], strict=True)]
    z = [_dot(w, scaled) + b for w, b in zip(own["skip.weight"], own["skip.bias"], strict=True)]
    if "inner.weight" in own:
        inner = zip(own["inner.weight"], own["inner.bias"], strict=True)
        hidden = [max(0.0, _dot(w, scaled) + b) for w, b in inner]
        z = [value + _dot(w, hidden) for value, w in zip(z, own["outer.weight"], strict=True)]
    length = math.sqrt(sum(value * value for value in z))
    return [value / length for value in z]


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
