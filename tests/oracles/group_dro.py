"""Group losses by loops, weights that follow them step by step, and which items are of one group."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run
from tellapart.core.errors import PartError
from tests.oracles._class_margin import OBJECTIVE, cross_entropy

CASES: list[dict] = [{}, {"step": 1.5, "adjust": 2.0}]


def check(build, options):
    rate, adjust = options.get("step", 0.05), options.get("adjust", 0.0)
    for with_subgroups in (False, True):
        run = labelled_run(objective=OBJECTIVE)
        if with_subgroups:
            run.data.extra["subgroup"] = np.arange(len(run.data)) % 3
        part = build(**options)
        part.begin(run)
        target = run.data.keys.target.tolist()
        of = [(t, i % 3 if with_subgroups else 0) for i, t in enumerate(target)]
        groups = sorted(set(of))
        q = {g: 1 / len(groups) for g in groups}
        for rows in batches(run)[:3]:
            z = run.encode("query", rows).tolist()
            mean = {}
            for g in groups:
                held = [cross_entropy(part, run, v, r) for v, r in zip(z, rows.tolist(), strict=True) if of[r] == g]
                if held:
                    mean[g] = sum(held) / len(held)
            for g in mean:
                q[g] *= math.exp(rate * (mean[g] + adjust / math.sqrt(of.count(g))))
            total = sum(q.values())
            q = {g: v / total for g, v in q.items()}
            losses = part.step(run, rows)
            assert list(losses) == ["worst groups"] and run.chain.asked
            assert losses["worst groups"].item() == pytest.approx(sum(q[g] * mean[g] for g in mean), rel=1e-4)
            assert part.q.tolist() == pytest.approx([q[g] for g in groups], rel=1e-4)
        losses["worst groups"].backward()
        assert part.vectors.grad.abs().sum() > 0
        assert torch.allclose(part.q.sum(), torch.tensor(1.0))
    with pytest.raises(PartError, match="one loss for all"):
        build(**options).begin(labelled_run(objective="madacos"))
