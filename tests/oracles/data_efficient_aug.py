"""Greedy choice by trying every row, weights and losses of steps by loops; and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run, viewed_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"share": 0.5, "temperature": 0.4}, {"share": 1.0, "refresh": 2}, {"share": 0.05}]
TEMPERATURE = 0.3


def check(build, options):
    run = viewed_run(objective=f"infonce(temperature={TEMPERATURE})")
    share, temperature = options.get("share", 0.3), options.get("temperature", 0.1)
    part = build(**options)
    part.begin(run)
    first = _weights(run, part, share, temperature)
    for rows in batches(run)[:2]:
        losses = part.step(run, rows)
        assert part.weight.tolist() == pytest.approx(first, rel=1e-5)
        expected = {"as they are": _mean(part, run, rows, None), "altered": _mean(part, run, rows, first)}
        assert losses["as they are"].item() == pytest.approx(expected["as they are"] / (1 + share), rel=1e-4)
        assert losses["altered"].item() == pytest.approx(expected["altered"] * share / (1 + share), rel=1e-4)
    with torch.no_grad():
        for x in run.towers.parameters():
            x.add_(torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel())))
    run.epoch, later = 1, _weights(run, part, share, temperature)
    part.step(run, batches(run)[0])
    kept = options.get("refresh", 1) > 1
    assert part.weight.tolist() == pytest.approx(first if kept else later, rel=1e-5)
    with pytest.raises(PartError, match="one loss for all"):
        build(**options).begin(labelled_run(objective="madacos"))


def _cosines(part, z):
    found = []
    for vector in part.vectors.tolist():
        found.append(sum(a * b for a, b in zip(z, vector, strict=True)) / math.sqrt(sum(b * b for b in vector)))
    return found


def _weights(run, part, share, temperature):
    target, n = run.data.keys.target.tolist(), len(run.data)
    gradient = []
    for row, z in enumerate(run.encode_all("query").tolist()):
        raised = [math.exp(c / temperature) for c in _cosines(part, z)]
        gradient.append([e / sum(raised) - (k == target[row]) for k, e in enumerate(raised)])
    weights = [0.0] * n
    counts = []
    for label in sorted(set(target)):
        members = [row for row in range(n) if target[row] == label]
        far = [[math.dist(gradient[i], gradient[j]) for j in members] for i in members]
        most = max(max(line) for line in far)
        chosen: list[int] = []
        for _ in range(max(1, round(share * len(members)))):
            gains = {}
            for j in range(len(members)):
                if j not in chosen:
                    gains[j] = sum(max(most - far[i][k] for k in [*chosen, j]) for i in range(len(members)))
            chosen.append(min(j for j, gain in gains.items() if gain >= max(gains.values()) * (1 - 1e-9)))
        held = dict.fromkeys(chosen, 0)
        for i in range(len(members)):
            held[min(chosen, key=lambda k: far[i][k])] += 1
        for k, number in held.items():
            weights[members[k]] = float(max(1, number))
            counts.append(max(1, number))
    return [w / (sum(counts) / len(counts)) for w in weights]


def _mean(part, run, rows, weights):
    chosen = [row for row in rows.tolist() if weights is None or weights[row]] or [int(rows[0])]
    vectors = run.encode("query", np.array(chosen), altered=weights is not None).tolist()
    total = 0.0
    for row, z in zip(chosen, vectors, strict=True):
        raised = [math.exp(c / TEMPERATURE) for c in _cosines(part, z)]
        own = raised[int(run.data.keys.target[row])]
        total += -math.log(own / sum(raised)) * (1 if weights is None else weights[row])
    return total / len(chosen)
