"""Every moved column by loops over those it may have been mixed with; shares are Beta, orders are permutations."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from scipy.stats import beta, kstest

from tellapart.contract._blocks import block, draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"alpha": 0.5}, {"alpha": 6.0}]


def check(build, options):
    part = build(**options)
    for enc in (weighted_rows(), block(own=0)):
        made = part(enc, rng=draws_of(enc))
        before, m = 0 if enc.own is None else enc.own.shape[1], len(enc.k)
        share, order = _read(enc.k.tolist(), made.k.tolist())
        assert sorted(order) == list(range(m)) and order != list(range(m))
        for i in range(len(enc.q)):
            mine = [j for j in range(m) if enc.rel.pos[i, j] > 0]
            for s, j in enumerate(mine):
                assert torch.allclose(made.own[i, before + s], enc.k[j], atol=1e-12)
                assert made.rel.pos[i, m + before + s] == enc.rel.pos[i, j] and made.rel.pos[i, j] == 0
            for j in range(m):
                first, second = enc.rel.neg[i, j].item(), enc.rel.neg[i, order[j]].item()
                wanted = share * first + (1 - share) * second if first > 0 and second > 0 else 0
                assert made.rel.neg[i, j].item() == pytest.approx(wanted, abs=1e-6)
        assert torch.equal(made.q, enc.q)
        if before:
            assert torch.equal(made.rel.neg[:, m : m + before], enc.rel.neg[:, m:])
            assert torch.equal(made.rel.pos[:, m : m + before], enc.rel.pos[:, m:])
    _draws(part, options.get("alpha", 1.6))


def _draws(part, alpha):
    m = 4
    k = torch.eye(m, dtype=torch.float64)
    enc = Encoded(k[:1], k, Relation(torch.zeros(1, m), torch.ones(1, m)))
    shares, orders, steps = [], Counter(), 1000
    for seed in range(steps):
        made = part(enc, rng=RowDraws(seed, torch.tensor([7]))).k.tolist()
        found = {(j, u): x for j, row in enumerate(made) for u, x in enumerate(row) if u != j and x > 0}
        orders[tuple(found)] += 1
        if found:
            (j, _), x = next(iter(found.items()))
            shares.append(made[j][j] / (made[j][j] + x))
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 1e-3
    assert len(orders) == math.factorial(m)
    for count in orders.values():
        assert abs(count - steps / 24) < 5 * math.sqrt(steps / 24)


def _read(old, new):
    """(share, order) with new_j = |share old_j + (1 - share) old_order(j)| for all j and one share."""
    shares, order = [], []
    for j, point in enumerate(new):
        for u in sorted(range(len(old)), key=lambda u: u != j):
            a = 1.0 if u == j else _share(point, old[j], old[u])
            mixed = [a * x + (1 - a) * y for x, y in zip(old[j], old[u], strict=True)]
            length = math.sqrt(sum(x * x for x in mixed))
            if all(abs(x / length - y) < 1e-9 for x, y in zip(mixed, point, strict=True)):
                order.append(u)
                shares.append(None if u == j else a)
                break
    known = [a for a in shares if a is not None]
    assert len(order) == len(old) and max(known) - min(known) < 1e-6
    return known[0], order


def _share(point, x, y):
    """The a for which a x + (1 - a) y points where `point` does as far as the plane of x and y can tell."""
    xx, xy, yy = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y)))
    px, py = (sum(a * b for a, b in zip(point, z, strict=True)) for z in (x, y))
    a, b = px * yy - py * xy, py * xx - px * xy
    return a / (a + b)
