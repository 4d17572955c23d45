"""Oracle: candidates by sorting, both losses in loops, whose gradient goes where, and when documents are found anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError
from tellapart.core.parts import make

OTHER = {"warmup": 0.25, "rounds": 2, "depth": 9, "draws": 4, "weight": 0.8, "temperature": 0.3, "hidden": 6}
CASES: list[dict] = [{}, OTHER, {"weight": 0.0, "start": "star", "warmup": 0.0, "draws": 50}]


def check(build, options: dict) -> None:
    warmup, rounds = options.get("warmup", 0.5), options.get("rounds", 3)
    depth = min(options.get("depth", 100), 39)
    run = small_run()
    part = build(**options)
    part.begin(run)
    rows, first = batches(run)[0], make("strategy", options.get("start", "two-tower"))
    first.begin(run)
    found_at = []
    for step in range(run.steps):
        run.step = step
        if step < warmup * run.steps:
            expected = {name: loss.item() for name, loss in first.step(run, rows).items()}
            assert {name: loss.item() for name, loss in part.step(run, rows).items()} == pytest.approx(expected)
            continue
        before = part.negatives.clone()
        losses, documents = _watched(part, run, rows)
        if not torch.equal(before, part.negatives):
            found_at.append(step)
            assert part.negatives.tolist() == _ranked(run, depth)
        if len(found_at) == 1 and found_at[0] == step:
            for name, x in run.towers.state_dict().items():
                assert torch.equal(x, part.readers.state_dict()[name]), "the ranker starts as a copy of the towers"
            with torch.no_grad():
                part.outward.copy_(torch.randn(len(part.outward), generator=torch.Generator().manual_seed(0)))
            losses, documents = _watched(part, run, rows)
        towers, ranker = _losses(run, part, rows, documents, options)
        assert math.isclose(losses["towers"].item(), towers, rel_tol=2e-4), (step, losses["towers"].item(), towers)
        assert math.isclose(losses["ranker"].item(), ranker, rel_tol=2e-4), (step, losses["ranker"].item(), ranker)
        _gradients(run, part, losses)
        _moved(run)
    start = math.ceil(warmup * run.steps)
    length = (run.steps - warmup * run.steps) / rounds
    assert found_at == sorted({min(s for s in range(start, 8) if s >= start + r * length) for r in range(rounds)})
    with pytest.raises(PartError, match="two sides"):
        build(**options).begin(small_run(same_space=True))


def _watched(part, run, rows):
    """Losses of a step, and the documents [n, 1 + m] of each query, read off what the towers encode."""
    encoded, encode = [], run.encode

    def noting(side, chosen, *, tower=None):
        encoded.append((side, tower, np.array(chosen)))
        return encode(side, chosen, tower=tower)

    run.encode = noting
    losses = part.step(run, rows)
    run.encode = encode
    assert [(side, tower) for side, tower, _ in encoded] == [
        (side, towers[side]) for towers in (run.towers, part.readers) for side in ("query", "document")
    ]
    assert np.array_equal(encoded[1][2], encoded[3][2]), "both halves must see the same documents"
    return losses, encoded[1][2].reshape(len(rows), -1).tolist()


def _ranked(run, depth):
    q, k = run.encode_all("query").tolist(), run.encode_all("document").tolist()
    found = []
    for i in range(40):
        wrong = sorted((j for j in range(40) if j // 2 != i // 2), key=lambda j, i=i: -_dot(q[i], k[j]))[:depth]
        found.append(wrong + [-1] * (depth - len(wrong)))
    return found


def _losses(run, part, rows, documents, options):
    weight, temperature, draws = options.get("weight", 0.5), options.get("temperature", 0.05), options.get("draws", 15)
    q, k = run.encode_all("query").tolist(), run.encode_all("document").tolist()
    with torch.no_grad():
        a = run.encode("query", np.arange(40), tower=part.readers["query"]).tolist()
        b = run.encode("document", np.arange(40), tower=part.readers["document"]).tolist()
    towers = ranker = 0.0
    for i, row in enumerate(rows.tolist()):
        held = [j for j in part.negatives[row].tolist() if j >= 0]
        mine = documents[i][: 1 + min(draws, len(held))]
        assert len(documents[i]) == 1 + draws and mine[0] == row and set(mine[1:]) <= set(held)
        assert len(set(mine)) == len(mine)
        s = [_dot(q[row], k[j]) / temperature for j in mine]
        d = [_judged(part, a[row], b[j], temperature) for j in mine]
        p_towers, p_ranker, p_wrong = _softmax(s), _softmax(d), _softmax(s[1:])
        game = sum(p * -math.log(1 + math.exp(x - d[0])) for p, x in zip(p_wrong, d[1:], strict=True))
        distilled = sum(p * math.log(p / other) for p, other in zip(p_ranker, p_towers, strict=True))
        towers += weight * game + (1 - weight) * distilled
        ranker -= math.log(p_ranker[0])
    return towers / len(rows), ranker / len(rows)


def _judged(part, a, b, temperature):
    common = [x * y for x, y in zip(a, b, strict=True)] + [abs(x - y) for x, y in zip(a, b, strict=True)]
    hidden = np.maximum(0, part.shift.detach().numpy() + np.array(common) @ part.inward.detach().numpy())
    return _dot(a, b) / temperature + _dot(hidden, part.outward.tolist())


def _gradients(run, part, losses):
    """Each loss moves its own half alone, and all of it."""
    halves = {"towers": list(run.towers.parameters()), "ranker": list(part.readers.parameters())}
    halves["ranker"] += [part.inward, part.shift, part.outward]
    for name, loss in losses.items():
        for half, parameters in halves.items():
            got = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            moved = [g is not None and bool(g.any()) for g in got]
            assert all(moved) if half == name else not any(moved), (name, half)


def _moved(run):
    """Towers that change between steps, so that another search finds other documents."""
    for tower in run.towers.values():
        tower.map.weight.data.add_(0.3 * tower.map.weight.data.roll(1, 0))


def _softmax(x):
    return [math.exp(v - max(x)) / sum(math.exp(w - max(x)) for w in x) for v in x]


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
