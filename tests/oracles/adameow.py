"""Oracle: weights by the network one pair at a time, the loss by sums over columns, their gradients; refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError
from tests.oracles.meow import pair_of, reached_by

CASES: list[dict] = [{}, {"paths": 2, "neighbours": 3, "temperature": 0.9, "width": 3}]


def check(build, options: dict) -> None:
    temperature = options.get("temperature", 0.4)
    for same_space in (False, True):
        run = small_run(same_space=same_space)
        part = build(**options)
        part.begin(run)
        reached_by(part.views, run, options)
        assert part.first.weight.shape[0] == options.get("width", 16)
        rows = batches(run)[0]
        parameters = [*part.parameters(), run.towers["query"].map.weight]
        loss = part.step(run, rows)["views"]
        got = torch.autograd.grad(loss, parameters)
        u, v, _ = pair_of(part.views, run, rows)
        group = run.data.keys.group.tolist()
        total = 0.0
        for i, row in enumerate(rows):
            columns = [j for j, c in enumerate(rows) if c == row or group[c] != group[row]]
            share = {j: _share(part, v[i] + u[j]) for j in columns}
            mean = sum(share.values()) / len(columns)
            rest = sum(share[j] / mean * torch.exp(v[i] @ u[j] / temperature) for j in columns)
            total = total - torch.log(torch.exp(v[i] @ u[i] / temperature) / rest)
        wanted = torch.autograd.grad(total / len(rows), parameters)
        assert math.isclose(loss.item(), total.item() / len(rows), rel_tol=1e-4), options
        for a, b in zip(got, wanted, strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-6)
        assert got[-1].abs().sum() > 0 and part.first.weight.grad is None
        _whole(part, run)
    run.data = replace(run.data, extra={})
    with pytest.raises(PartError, match="give a graph"):
        build(**options).begin(run)


def _whole(part, run):
    h = run.encode("document", np.arange(len(run.data)))
    weight = part.weights(h)
    assert torch.allclose(weight.mean(1), torch.ones(len(h)), atol=1e-5)
    if run.data.same_space:
        u, v, fine = pair_of(part.views, run, list(range(len(h))))
        assert torch.allclose(part.fine(h), torch.stack(fine), atol=1e-5)
        ratio = _share(part, v[3] + u[9]) / _share(part, v[3] + u[20])
        assert math.isclose((weight[3, 9] / weight[3, 20]).item(), ratio.item(), rel_tol=1e-4)


def _share(part, x):
    hidden = torch.tanh(part.first.weight @ x + part.first.bias)
    return 1 / (1 + torch.exp(-(part.second.weight[0] @ hidden + part.second.bias[0])))
