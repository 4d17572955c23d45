"""Oracle: the loss of `mur-cir` over plain pairs, by loops over both directions."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import small_run
from tests.oracles.mur_cir import SHAKING, noise, shaken

CASES: list[dict] = [{}, {"decay": 2.0, "strength": 3.0, "length": 1.5}, {"decay": 0.0}]
TEMPERATURE = 0.3
ROWS = np.asarray([0, 2, 5, 6, 9, 14, 20, 21, 33])


def loss(rows: list, columns: list, groups: list[int]) -> float:
    losses = []
    for i, q in enumerate(rows):
        scores = [sum(float(a) * float(b) for a, b in zip(q, k, strict=True)) / TEMPERATURE for k in columns]
        counted = [s for j, s in enumerate(scores) if j == i or groups[j] != groups[i]]
        losses.append(-math.log(math.exp(scores[i]) / sum(math.exp(s) for s in counted)))
    return sum(losses) / len(losses)


def check(build, options: dict) -> None:
    decay, strength, length = (options.get(n, usual) for n, usual in (("decay", 1), ("strength", 1), ("length", 4)))
    for both_ways in (True, False):
        run = small_run(objective=f"infonce(temperature={TEMPERATURE})", both_ways=both_ways)
        part = build(**options)
        part.begin(run)
        run.step, run.steps = 3, 10
        with torch.no_grad():
            q, z = (run.encode(side, ROWS).double().numpy() for side in ("query", "document"))
        draws = noise(len(ROWS), z.shape[1])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                sys.modules[SHAKING], "normal", lambda its, width, drawn=draws: torch.from_numpy(drawn).float()
            )
            got = part.step(run, ROWS)
        groups = run.data.keys.group[ROWS].tolist()
        assert len(set(groups)) < len(groups)
        about, spread = shaken(z, draws, length, strength)
        found = []
        for documents in (about, list(z)):
            found.append(loss(list(q), documents, groups))
            if both_ways:
                found[-1] = (found[-1] + loss(documents, list(q), groups)) / 2
        share = math.exp(-decay * 3 / 10)
        expected = share * 0.5 * (math.exp(-spread) * found[0] + spread), (1 - share) * found[1]
        assert math.isclose(got["coarse"].item(), expected[0], rel_tol=1e-4)
        assert math.isclose(got["fine"].item(), expected[1], rel_tol=1e-4, abs_tol=1e-9)
    run = small_run(same_space=True)
    part = build(**options)
    part.begin(run)
    assert torch.isfinite(torch.stack(list(part.step(run, np.arange(12)).values()))).all()
