"""Oracle: kept pairs and losses of a step, by loops over items, with their gradient; and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [{}, {"whisker": 0.2}]
MARGIN, TEMPERATURE = 0.2, 0.3


def check(build, options: dict) -> None:
    left_out = 0
    for same_space in (False, True):
        run = small_run(objective=f"cosface(margin={MARGIN}, temperature={TEMPERATURE})", same_space=same_space)
        with torch.no_grad():  # vectors that crowd on one side have cosines with a tail
            for tower in run.towers.values():
                tower.map.bias.fill_(2.0)
        part = build(**options)
        part.begin(run)
        rows = np.unique(np.concatenate([batches(run)[1], batches(run)[1][:4] ^ 1]))  # some with their near duplicate
        losses = part.step(run, rows)
        sides = ["query"] if same_space else ["query", "document"]
        assert list(losses) == sides
        z = {side: run.encode(side, rows).detach() for side in sides}
        target, group = run.data.keys.target[rows].tolist(), run.data.keys.group[rows].tolist()
        left = list(z[sides[0]].requires_grad_()), list(z[sides[-1]].requires_grad_())
        pairs = []
        for i in range(len(rows)):
            for j in range(i + 1 if same_space else 0, len(rows)):
                if target[i] != target[j] and group[i] != group[j]:
                    pairs.append(left[0][i] @ left[1][j])
        ordered = sorted(p.item() for p in pairs)
        first, third = ordered[int(0.25 * len(ordered))], ordered[int(0.75 * len(ordered))]
        reach = options.get("whisker", 1.5) * (third - first)
        kept = [p for p in pairs if first - reach - 1e-6 <= p.item() <= third + reach + 1e-6]
        left_out += len(pairs) - len(kept)
        shared = sum(torch.exp(p / TEMPERATURE) for p in kept)
        classes = sorted(set(run.data.keys.target.tolist()))
        groups = {c: set(run.data.keys.group[run.data.keys.target == c].tolist()) for c in classes}
        total = 0.0
        for side in sides:
            expected = 0.0
            for i, x in enumerate(left[sides.index(side)]):
                lead, rest = 0.0, shared
                for c, w in zip(classes, part.vectors.detach(), strict=True):
                    cosine = (x @ w) / math.sqrt(float(w @ w))
                    if c == target[i]:
                        lead = torch.exp((cosine - MARGIN) / TEMPERATURE)
                    elif groups[c] != {group[i]}:
                        rest = rest + torch.exp(cosine / TEMPERATURE)
                expected = expected - torch.log(lead / (lead + rest)) / len(rows) / len(sides)
            assert math.isclose(losses[side].item(), expected.item(), rel_tol=1e-4), (options, same_space, side)
            total = total + expected
        towers = [run.towers[side].map.weight for side in sides]
        got = torch.autograd.grad(sum(losses.values()), towers, retain_graph=True)
        again = {side: run.encode(side, rows) for side in sides}
        wanted = torch.autograd.grad(total, [z[side] for side in sides])
        wanted = torch.autograd.grad([again[side] for side in sides], towers, list(wanted))
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(got, wanted, strict=True))
    assert left_out > 0, "a case in which nothing is left out shows nothing"
    run = small_run(same_space=True)
    one = Keys(run.data.keys.item, run.data.keys.group, torch.zeros_like(run.data.keys.item))
    run.data = replace(run.data, keys=one)
    with pytest.raises(PartError, match="classes apart"):
        build(**options).begin(run)
