"""Oracle: clusters of members nearest to their own mean, even draws from them less what is true, InfoNCE in loops."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [{}, {"clusters": 5, "draws": 3}, {"clusters": 1, "draws": 20}]
TEMPERATURE = 0.2
SIDES = ("query", "document")


def check(build, options: dict) -> None:
    run = _run()
    part = build(**options)
    part.begin(run)
    pools = {side: _pools(part, run, side, options) for side in SIDES}
    rows, draws = batches(run)[0], options.get("draws", 8)
    seen = {side: Counter() for side in SIDES}
    for step in range(40):
        run.step = step
        losses, drawn = _watched(part, run, rows)
        for side, asking in zip(SIDES, reversed(SIDES), strict=True):
            for row, mine in zip(rows.tolist(), drawn[side], strict=True):
                assert len(mine) == draws
                assert all(weight in (0.0, pytest.approx((len(rows) - 1) / draws)) for _, weight in mine)
                met = [j for j, weight in mine if weight]
                assert all(j in pools[side][row] and not _true(run, side, row, j) for j in met)
                seen[side].update((row, j) for j in met)
            expected = _loss(run, rows, asking, drawn[side]) / 2
            assert math.isclose(losses[asking].item(), expected, rel_tol=1e-4), (options, step, side)
    for side in SIDES:
        for row in rows.tolist():
            even = 40 * draws / len(pools[side][row])
            wrong = [j for j in pools[side][row] if not _true(run, side, row, j)]
            assert all(abs(seen[side][row, j] - even) < 5 * even**0.5 + 1 for j in wrong), "draws are not even"
    run.recipe = run.recipe.but(both_ways=False)
    assert set(part.step(run, rows)) == {"query"}
    with pytest.raises(PartError, match="two sides"):
        build(**options).begin(small_run(same_space=True))
    with pytest.raises(PartError, match="3 distinct items of the side"):
        build(**options).begin(small_run(n=3))


def _run():
    """Rows 0 to 5 have one target and different groups, rows 30 to 33 one document and different targets."""
    run = small_run(objective=f"infonce(temperature={TEMPERATURE})")
    held = run.data.keys
    target, group = held.target.clone(), held.group.clone()
    target[:6], group[30:34] = 0, 15
    target[20] = -1
    run.data.document.x[31:34] = run.data.document.x[30]
    run.data = replace(run.data, keys=Keys(held.item, group, target))
    return run


def _pools(part, run, side, options):
    """The rows that each row's corruptions come from, after a look at what the part calls a cluster."""
    order, size, start = (getattr(part, f"{side}_{name}").tolist() for name in ("order", "size", "start"))
    x = getattr(run.data, side).x.numpy()
    first = {}
    for row, v in enumerate(x):
        first.setdefault(tuple(v.tolist()), row)
    assert sorted(order) == sorted(first.values()), "every distinct item is in one cluster, once"
    pools = [order[start[row] : start[row] + size[row]] for row in range(len(x))]
    clusters = {tuple(pool) for pool in pools}
    assert len(clusters) == (options.get("clusters") or math.ceil(len(first) / 64))
    means = {pool: np.mean([x[j] for j in pool], 0) for pool in clusters}
    for row, v in enumerate(x):
        assert first[tuple(v.tolist())] in pools[row]
        nearest = min(means, key=lambda pool, v=v: ((v - means[pool]) ** 2).sum())
        assert nearest == tuple(pools[row]), (side, row)
    return pools


def _watched(part, run, rows):
    """Losses of a step, and by side [n][s] the rows that were drawn with their weights, read off what the step uses."""
    encoded, weights, encode, contrast = [], [], run.encode, run.contrast

    def noting(side, chosen, **more):
        encoded.append((side, np.array(chosen)))
        return encode(side, chosen, **more)

    def weighing(pairs):
        weights.append(pairs.own_neg.tolist())
        return contrast(pairs)

    run.encode, run.contrast = noting, weighing
    losses = part.step(run, rows)
    run.encode, run.contrast = encode, contrast
    assert [side for side, _ in encoded[:2]] == list(SIDES)
    drawn = {}
    for (side, chosen), weight in zip(encoded[2:], weights, strict=True):
        chosen = chosen.reshape(len(rows), -1).tolist()
        drawn[side] = [list(zip(j, w, strict=True)) for j, w in zip(chosen, weight, strict=True)]
    return losses, drawn


def _true(run, side, row, other):
    """Whether any pair has a row's item on the one side and, or a duplicate of it, another row's item on `side`."""
    query, document = (row, other) if side == "document" else (other, row)
    target, group = run.data.keys.target.tolist(), run.data.keys.group.tolist()
    same = [m for m in range(40) if m == query or (target[m] == target[query] and target[m] >= 0)]
    return any(group[m] == group[document] for m in same)


def _loss(run, rows, asking, drawn):
    """InfoNCE from one side to the other; rows without a target have no positive and do not count."""
    z = {side: run.encode_all(side).tolist() for side in SIDES}
    other = SIDES[1 - SIDES.index(asking)]
    target, group = run.data.keys.target.tolist(), run.data.keys.group.tolist()
    total, counted = 0.0, 0
    for row, mine in zip(rows.tolist(), drawn, strict=True):
        wrong = [(j, 1.0) for j in rows.tolist() if target[j] != target[row] and group[j] != group[row]]
        rest = sum(w * math.exp(_dot(z[asking][row], z[other][j]) / TEMPERATURE) for j, w in wrong + mine)
        positives = [j for j in rows.tolist() if target[j] == target[row] and target[row] >= 0]
        for j in positives:
            lead = math.exp(_dot(z[asking][row], z[other][j]) / TEMPERATURE)
            total += math.log((lead + rest) / lead) / len(positives)
        counted += bool(positives)
    return total / counted


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
