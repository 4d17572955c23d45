"""The mean of weights, one number at a time."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}]


def states(seed, n=4):
    rng = np.random.default_rng(seed)
    return [{"a": rng.normal(size=(2, 3)).astype(np.float32), "b": rng.normal(size=5)} for _ in range(n)]


def check(build, options):
    for seed in range(3):
        given = states(seed)
        soup, kept = build(**options)(given)
        assert kept == [0, 1, 2, 3]
        for i in range(2):
            for j in range(3):
                assert abs(soup["a"][i, j] - sum(float(s["a"][i, j]) for s in given) / 4) < 1e-6
        for i in range(5):
            assert abs(soup["b"][i] - sum(s["b"][i] for s in given) / 4) < 1e-12


def check_library(build):
    """As torch's averaged model does it."""
    import torch

    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        models.append(torch.nn.Linear(4, 3))
    averaged = torch.optim.swa_utils.AveragedModel(models[0])
    for model in models:
        averaged.update_parameters(model)
    soup, _ = build()([{n: v.numpy() for n, v in m.state_dict().items()} for m in models])
    for name, value in averaged.module.state_dict().items():
        assert np.allclose(soup[name], value.numpy(), atol=1e-6)
