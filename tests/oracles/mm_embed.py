"""Oracle: pools by sorting both kinds together for each query, and InfoNCE in loops over what a step shows."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"warmup": 0.0, "depth": 12, "skip": 3, "draws": 5}]
TEMPERATURE = 0.2
SIDES = ("query", "document")


def check(build, options: dict) -> None:
    run = small_run(objective=f"infonce(temperature={TEMPERATURE})")
    part = build(**options)
    part.begin(run)
    assert not part.wishes.any()
    with torch.no_grad():
        part.wishes.copy_(0.4 * torch.randn(2, 5, generator=torch.Generator().manual_seed(1)))
    warmup = options.get("warmup", 0.3)
    rows, seen = batches(run)[0], []
    for step in range(run.steps):
        run.step = step
        losses, drawn = _watched(part, run, rows)
        assert bool(part.written) == (step >= warmup * run.steps)
        for side in SIDES:
            expected = _loss(run, part, rows, side, drawn.get(side)) / 2
            assert math.isclose(losses[side].item(), expected, rel_tol=1e-4), (options, step, side)
        seen.append(str(drawn))
    assert any(a != b for a, b in pairwise(seen)), "draws must change from step to step"
    _pools(run, part, options)
    before = part.pools.clone()
    with torch.no_grad():
        run.towers["query"].map.weight.mul_(-1)
    part.step(run, rows)
    assert torch.equal(before, part.pools), "pools must stay as they were written down"
    _refuses(build)


def _asked(run, part, side):
    """Unit vectors of one side's towers' vectors with the wish for the other side added, as lists."""
    wish = part.wishes[1 - SIDES.index(side)].tolist()
    found = []
    for v in run.encode_all(side).tolist():
        moved = [a + b for a, b in zip(v, wish, strict=True)]
        length = math.sqrt(sum(a * a for a in moved))
        found.append([a / length for a in moved])
    return found


def _pools(run, part, options):
    depth, skip = min(options.get("depth", 50), 78), options.get("skip", 45)
    sizes = [0, 0]
    for at, side in enumerate(SIDES):
        z, plain = _asked(run, part, side), {s: run.encode_all(s).tolist() for s in SIDES}
        wanted = SIDES[1 - at]
        for i in range(40):
            others = [(s, j) for s in SIDES for j in range(40) if j // 2 != i // 2]
            ranked = sorted(others, key=lambda c, z=z, i=i: -_dot(z[i], plain[c[0]][c[1]]))[:depth]
            bar = _dot(z[i], plain[wanted][i])
            wrong_kind = [j for s, j in ranked if s == side and _dot(z[i], plain[s][j]) > bar]
            wrong_item = [j for place, (s, j) in enumerate(ranked) if s == wanted and place >= skip]
            for pool, expected in enumerate((wrong_kind, wrong_item)):
                found = part.pools[at, pool, i].tolist()
                assert found == expected + [-1] * (depth - len(expected)), (options, side, i, pool)
                sizes[pool] += len(expected)
    assert all(sizes), "a pool is empty for every row: nothing was compared"


def _watched(part, run, rows):
    """Losses of a step, and by side the (kind, rows) that were drawn for it, read off what the step encodes."""
    encoded, encode = [], run.encode

    def noting(side, chosen, **more):
        encoded.append((side, np.array(chosen)))
        return encode(side, chosen, **more)

    run.encode = noting
    losses = part.step(run, rows)
    run.encode = encode
    drawn, waiting = {}, encoded[2:]
    if part.written:
        for at, side in enumerate(SIDES):
            pair = [(kind, chosen.reshape(len(rows), -1)) for kind, chosen in waiting[2 * at : 2 * at + 2]]
            assert [kind for kind, _ in pair] == [side, SIDES[1 - at]]
            drawn[side] = pair
    return losses, drawn


def _loss(run, part, rows, side, drawn):
    z, plain = _asked(run, part, side), {s: run.encode_all(s).tolist() for s in SIDES}
    wanted, at = SIDES[1 - SIDES.index(side)], SIDES.index(side)
    total = 0.0
    for i, row in enumerate(rows.tolist()):
        wrong = [plain[s][j] for s in SIDES for j in rows.tolist() if j // 2 != row // 2]
        for pool, (kind, chosen) in enumerate(drawn or []):
            held = [j for j in part.pools[at, pool, row].tolist() if j >= 0]
            mine = chosen[i].tolist()[: len(held)]
            assert set(mine) <= set(held) and len(set(mine)) == min(len(held), chosen.shape[1])
            wrong += [plain[kind][j] for j in mine]
        lead = math.exp(_dot(z[row], plain[wanted][row]) / TEMPERATURE)
        rest = sum(math.exp(_dot(z[row], v) / TEMPERATURE) for v in wrong)
        total += math.log((lead + rest) / lead)
    return total / len(rows)


def _refuses(build):
    with pytest.raises(PartError, match="two sides"):
        build().begin(small_run(same_space=True))
    with pytest.raises(PartError, match="skip=9 leaves nothing"):
        build(depth=9, skip=9).begin(small_run())


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
