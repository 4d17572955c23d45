"""The stretch of a step is read back from one pair; then every pair is drawn apart by loops, and stretches are Beta."""

from __future__ import annotations

import math

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
        a, most = None, 0
        for i, q in enumerate(enc.q.tolist()):
            mine = [j for j in range(m) if enc.rel.pos[i, j] > 0]
            most = max(most, len(mine))
            for s, j in enumerate(mine):
                k, place = enc.k[j].tolist(), m + before + s
                score = made.sim[i, place].item()
                a = a or _stretch(_dot(q, k), score)
                moved_q = [a * x + (1 - a) * y for x, y in zip(q, k, strict=True)]
                moved_k = [a * y + (1 - a) * x for x, y in zip(q, k, strict=True)]
                assert score == pytest.approx(_dot(moved_q, moved_k) / _length(moved_q) / _length(moved_k), abs=1e-9)
                assert score < _dot(q, k)
                own = made.own[i, before + s].tolist()
                assert _length(own) == pytest.approx(1) and _in_plane(own, q, k)
                assert made.rel.pos[i, place] == enc.rel.pos[i, j]
                assert made.rel.pos[i, j] == made.rel.neg[i, j] == made.rel.neg[i, place] == 0
            spare = range(m + before + len(mine), made.rel.shape[1])
            assert all(made.rel.pos[i, j] == made.rel.neg[i, j] == 0 for j in spare)
        assert made.rel.shape[1] == m + before + most and 1 <= a <= 2
        assert torch.equal(made.q, enc.q) and torch.equal(made.k, enc.k)
        assert torch.equal(made.rel.neg[:, : m + before], enc.rel.neg)
        assert torch.equal(made.rel.pos[:, m : m + before], enc.rel.pos[:, m:])
    _draws(part, options.get("alpha", 2.0))
    _gradient(part)


def _draws(part, alpha):
    q = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    k = torch.tensor([[math.cos(0.3), math.sin(0.3)]], dtype=torch.float64)
    enc = Encoded(q, k, Relation(torch.ones(1, 1), torch.zeros(1, 1)))
    scores = [part(enc, rng=RowDraws(seed, torch.tensor([5]))).sim[0, 1].item() for seed in range(1000)]
    stretches = [_stretch(math.cos(0.3), score) - 1 for score in scores]
    assert kstest(stretches, beta(alpha, alpha).cdf).pvalue > 1e-3


def _gradient(part):
    """The slope of the new score by the old one is the formula's; at equal vectors it is finite."""
    for angle in (0.0, 0.7):
        q = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
        k = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]], dtype=torch.float64, requires_grad=True)
        enc = Encoded(q, k, Relation(torch.ones(1, 1), torch.zeros(1, 1)))
        made = part(enc, rng=RowDraws(3, torch.tensor([0])))
        (grad,) = torch.autograd.grad(made.sim[0, 1], k)
        assert grad.isfinite().all()
        if angle:
            a = _stretch(math.cos(angle), made.sim[0, 1].item())
            b, c = 2 * a * (a - 1), math.cos(angle)
            slope = ((1 + b) * (1 + b * (1 - c)) + b * (c + b * (c - 1))) / (1 + b * (1 - c)) ** 2
            # A step of k along its circle changes c by -sin(angle).
            along = -grad[0, 0] * math.sin(angle) + grad[0, 1] * math.cos(angle)
            assert along.item() == pytest.approx(-slope * math.sin(angle))


def _stretch(c, score):
    """a in [1, 2] with cos(a q + (1 - a) k, a k + (1 - a) q) = score, by halving."""
    low, high = 1.0, 2.0
    for _ in range(60):
        a = (low + high) / 2
        dot = a * a * c + (1 - a) ** 2 * c + 2 * a * (1 - a)
        square = a * a + (1 - a) ** 2 + 2 * a * (1 - a) * c
        low, high = (a, high) if dot / square > score else (low, a)
    return (low + high) / 2


def _in_plane(p, x, y):
    """Whether p is a combination of x and y: what is left of it without both is nothing."""
    y = [b - _dot(x, y) * a for a, b in zip(x, y, strict=True)]
    y = [b / _length(y) for b in y]
    left = [c - _dot(p, x) * a - _dot(p, y) * b for a, b, c in zip(x, y, p, strict=True)]
    return _length(left) < 1e-9


def _dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def _length(x):
    return math.sqrt(_dot(x, x))
