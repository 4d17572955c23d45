"""The three steps by automatic slopes of what the paper writes: a likelihood, a cosine, a divergence."""

from __future__ import annotations

import pytest
import torch

from tellapart.contract._blocks import block, draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"negative_step": 0.05, "positive_step": 0.9}, {"temperature": 0.5}]


def check(build, options):
    e, f = options.get("negative_step", 0.3), options.get("positive_step", 0.6)
    temperature, part = options.get("temperature", 0.07), build(**options)
    for enc in (weighted_rows(), block(own=0)):
        made = part(enc, rng=draws_of(enc))
        before, m = 0 if enc.own is None else enc.own.shape[1], len(enc.k)
        for i, q in enumerate(enc.q):
            impostor, distant = made.own[i, before:]
            weights = made.rel.pos[i, m + before :].tolist(), made.rel.neg[i, m + before :].tolist()
            mine = [j for j in range(m) if enc.rel.pos[i, j] > 0]
            if not mine:
                assert weights == ([0, 0], [0, 0])
                continue
            columns = [j for j in range(m) if enc.rel.pos[i, j] > 0 or enc.rel.neg[i, j] > 0]
            found = []
            for j in mine:
                a, b = _by_hand(q, enc.k[columns], columns.index(j), e, f, temperature)
                if torch.allclose(a, impostor, atol=1e-7) and torch.allclose(b, distant, atol=1e-7):
                    found.append(j)
            assert len(found) == 1, (i, mine)
            some = [w for w in enc.rel.neg[i].tolist() if w > 0]
            assert weights[0] == pytest.approx([0, enc.rel.pos[i, found[0]].item()])
            assert weights[1] == pytest.approx([sum(some) / len(some), 0])
    _each_positive_is_drawn(part)
    _invariants(part, e, temperature)


def _by_hand(q, columns, own, e, f, temperature):
    """(impostor, distant positive) of a row and the `own`-th of its columns."""

    def says(x):
        return torch.log_softmax(columns @ x / temperature, 0)

    y = columns[own]
    impostor = _unit(y + e * _unit(_slope(lambda x: -says(_unit(x))[own], y)))
    away = _unit(y + f * _unit(_slope(lambda x: -torch.cosine_similarity(q, x, dim=0), y)))
    divergence = _slope(lambda x: sum(p.exp() * (p - r) for p, r in zip(says(y), says(_unit(x)), strict=True)), away)
    return impostor, _unit(away - f * _unit(divergence))


def _each_positive_is_drawn(part):
    q = torch.eye(6, dtype=torch.float64)[:1].expand(600, -1)
    k = _unit(torch.eye(6, dtype=torch.float64)[:5] + 0.3)
    rel = Relation(torch.tensor([[1.0, 0, 2, 1, 0]]).expand(600, -1), torch.tensor([[0, 1.0, 0, 0, 1]]).expand(600, -1))
    made = part(Encoded(q, k, rel), rng=RowDraws(2, torch.arange(600)))
    kinds, counts = made.own[:, 0].round(decimals=6).unique(dim=0, return_counts=True)
    assert len(kinds) == 3 and ((counts - 200).abs() < 60).all()


def _invariants(part, e, temperature):
    """What the catalogue asks: the impostor costs more likelihood than noise as long; y+ is far and more like y."""
    enc = block(rows=20, columns=40, own=0, spread=0.3)
    made = part(enc, rng=draws_of(enc))
    draw = torch.Generator().manual_seed(1)
    noise = _unit(enc.k[:20] + e * _unit(torch.randn(20, enc.k.shape[1], generator=draw, dtype=torch.float64)))

    def likelihood(x):
        return torch.log_softmax(x @ enc.k.T / temperature, 1).diagonal()

    assert likelihood(made.own[:, 0]).mean() < likelihood(noise).mean()
    cosine = (enc.q * enc.k[:20]).sum(1)
    assert (enc.q * made.own[:, 1]).sum(1).mean() < cosine.mean()


def _slope(function, at):
    x = at.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


def _unit(x):
    return x / x.norm(dim=-1, keepdim=True)
