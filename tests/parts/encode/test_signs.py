"""Codes of signs: one code in torch and in numpy, trained straight through, and never exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.engine.fit import fit, untrained
from tellapart.engine.inputs import Features, TrainData
from tellapart.recipe import Recipe


def planted(n: int = 200) -> TrainData:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(n, 6))
    x, y = (cause @ rng.normal(size=(6, w)) + 0.2 * rng.normal(size=(n, w)) for w in (30, 20))
    row = torch.arange(n)
    return TrainData(Features(x.astype(np.float32)), Features(y.astype(np.float32)), Keys(row, row, row))


def test_torch_and_numpy_give_one_code_of_every_item():
    """Float32 sums in two orders would differ in some of these 640,000 bits."""
    head = make("encode", "sign-head(dim=64)")
    torch.manual_seed(0)
    module, x = head.module(300), torch.randn(10_000, 300)
    module.standardise(x)
    z = head.apply({name: t.numpy() for name, t in module.state_dict().items()}, x.numpy())
    assert np.array_equal(z, module(x).detach().numpy())
    assert set(np.unique(z)) == {np.float32(-1 / 8), np.float32(1 / 8)}


def test_any_strategy_trains_it():
    data, recipe = planted(), Recipe(head="sign-head(dim=16)", epochs=20, batch_size=50, learning_rate=1e-2)
    found = []
    for fitted in (untrained(recipe, data), fit(recipe, data)):
        q, k = (fitted.encode(side, getattr(data, side).x.numpy()) for side in ("query", "document"))
        assert np.allclose(np.abs(q), 0.25)
        found.append(float((q * k).sum(1).mean() - (q @ k.T).mean()))
    assert found[1] > found[0] + 0.2


def test_it_is_not_exported():
    head = make("encode", "sign-head")
    state = {name: t.numpy() for name, t in head.module(5).state_dict().items()}
    with pytest.raises(PartError, match="not exported"):
        head.layers(state)
