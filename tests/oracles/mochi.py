"""Every synthetic negative by loops over the points it may have been mixed from, and how shares and pairs are drawn."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch

from tellapart.contract._blocks import draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"hardest": 3, "mixes": 20, "query_mixes": 10}, {"mixes": 0, "query_mixes": 5}]


def check(build, options):
    n_hard, n_mix, n_query = (options.get(n, d) for n, d in (("hardest", 64), ("mixes", 64), ("query_mixes", 16)))
    enc = weighted_rows()
    made = build(**options)(enc, rng=draws_of(enc))
    before, old = enc.own.shape[1], enc.rel.shape[1]
    assert made.own.shape[1] == before + n_mix + n_query
    for i, q in enumerate(enc.q.tolist()):
        columns, weight = [*enc.k.tolist(), *enc.own[i].tolist()], enc.rel.neg[i].tolist()
        score = [sum(a * b for a, b in zip(q, column, strict=True)) for column in columns]
        negatives = sorted((j for j in range(old) if weight[j] > 0), key=lambda j: -score[j])[:n_hard]
        for s, point in enumerate(made.own[i, before:].tolist()):
            got = made.rel.neg[i, old + s].item()
            fits = []
            if s < n_mix:
                for u, v in itertools.permutations(negatives, 2):
                    a = _share(point, columns[u], columns[v])
                    fits.append(a is not None and 0 <= a <= 1 and _is(got, a * weight[u] + (1 - a) * weight[v]))
            else:
                for u in negatives:
                    b = _share(point, q, columns[u])
                    fits.append(b is not None and 0 <= b < 0.5 and _is(got, weight[u]))
            assert any(fits), (options, i, s)
    if not options:
        _draws(build)


def _draws(build):
    """On an orthonormal basis the shares can be read off the coordinates: uniform, and no pair is preferred."""
    rows, each, negatives = 300, 8, 4
    basis = torch.eye(1 + negatives, dtype=torch.float64)
    rel = Relation(torch.zeros(rows, negatives), torch.ones(rows, negatives))
    enc = Encoded(basis[:1].expand(rows, -1), basis[1:], rel)
    made = build(mixes=each, query_mixes=each)(enc, rng=RowDraws(1, torch.arange(rows))).own
    pairs, mixed = Counter(), []
    for point in made[:, :each].reshape(-1, 1 + negatives).tolist():
        u, v = (j for j, x in enumerate(point) if x != 0)
        pairs[u, v] += 1
        mixed.append(point[u] / (point[u] + point[v]))
    of_query = []
    for point in made[:, each:].reshape(-1, 1 + negatives).tolist():
        (u,) = (j for j, x in enumerate(point) if x != 0 and j > 0)
        pairs[u] += 1
        of_query.append(point[0] / (point[0] + point[u]))
    assert len(pairs) == 6 + 4
    for drawn, count in pairs.items():
        expected = rows * each / (6 if isinstance(drawn, tuple) else 4)
        assert abs(count - expected) < 4 * expected**0.5, drawn
    for shares, top in ((mixed, 1.0), (of_query, 0.5)):
        assert 0 <= min(shares) < 0.01 and top - 0.01 < max(shares) <= top
        assert sum(shares) / len(shares) == pytest.approx(top / 2, abs=0.02)


def _share(point, x, y):
    """a with point = |a x + (1 - a) y|, by least squares over both numbers; None when the point does not lie there."""
    xx, xy, yy = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y)))
    px, py = (sum(a * b for a, b in zip(point, z, strict=True)) for z in (x, y))
    det = xx * yy - xy * xy
    if abs(det) < 1e-12:
        return None
    a, b = (px * yy - py * xy) / det, (py * xx - px * xy) / det
    off = sum((p - a * s - b * t) ** 2 for p, s, t in zip(point, x, y, strict=True))
    return a / (a + b) if off < 1e-16 and a + b > 0 else None


def _is(got, wanted):
    return abs(got - wanted) < 1e-6
