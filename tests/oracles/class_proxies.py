"""Oracle: losses of a step against the class vectors, by loops; and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [{}]


def check(build, options: dict) -> None:
    for same_space in (False, True):
        run = small_run(objective="cosface(margin=0.2, temperature=0.3)", same_space=same_space)
        part = build(**options)
        part.begin(run)
        classes = sorted(set(run.data.keys.target.tolist()))
        assert part.vectors.shape == (len(classes), run.dim())
        rows = batches(run)[0]
        losses = part.step(run, rows)
        sides = ["query"] if same_space else ["query", "document"]
        assert list(losses) == sides
        groups = {c: set(run.data.keys.group[run.data.keys.target == c].tolist()) for c in classes}
        for side in sides:
            expected = 0.0
            for z, row in zip(run.encode(side, rows).tolist(), rows, strict=True):
                target, group = int(run.data.keys.target[row]), int(run.data.keys.group[row])
                lead, rest = 0.0, 0.0
                for c, w in zip(classes, part.vectors.tolist(), strict=True):
                    cosine = sum(a * b for a, b in zip(z, w, strict=True)) / math.sqrt(sum(b * b for b in w))
                    if c == target:
                        lead = math.exp((cosine - 0.2) / 0.3)
                    elif groups[c] != {group}:
                        rest += math.exp(cosine / 0.3)
                expected -= math.log(lead / (lead + rest)) / len(rows) / len(sides)
            assert math.isclose(losses[side].item(), expected, rel_tol=1e-4), (same_space, side)
        sum(losses.values()).backward()
        assert part.vectors.grad.abs().sum() > 0
    _refusals(build, options)


def _refusals(build, options):
    run = small_run(same_space=True)
    keys, n = run.data.keys, len(run.data)
    for target, said in (
        (torch.zeros(n), "classes apart"),
        (torch.arange(n), "appears once"),
        (-torch.ones(n), "have 0"),
    ):
        run.data = replace(run.data, keys=Keys(keys.item, keys.group, target.long()))
        with pytest.raises(PartError, match=said):
            build(**options).begin(run)
