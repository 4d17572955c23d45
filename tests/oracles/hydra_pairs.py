"""Oracle: gates, masked scores, relations and losses by loops; how second classes are drawn; what is refused."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, labelled_run, small_run
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [{}, {"hidden": 7}]
TEMPERATURE = 0.2


def check(build, options: dict) -> None:
    for same_space in (True, False):
        _losses(build, options, same_space)
    _draws(build)
    _overlap(build, options)
    _refused(build, options)


def _run(same_space=True, **recipe):
    """Four classes; some items have no label, and group mates are in one batch."""
    objective = f"infonce(temperature={TEMPERATURE})"
    run = labelled_run(objective=objective, **recipe)
    if not same_space:
        other = small_run(objective=objective, **recipe)
        run = _with_target(other, run.data.keys.target)
    target = run.data.keys.target.clone()
    target[::9] = -1
    return _with_target(run, target)


def _with_target(run, target):
    run.data = replace(run.data, keys=replace(run.data.keys, target=target))
    return run


def _losses(build, options, same_space):
    run = _run(same_space)
    part = build(**options)
    part.begin(run)
    rows = np.unique(np.concatenate([batches(run)[1], batches(run)[2][:6] ^ 1]))
    seen, plain = [], run.chain.objective

    def objective(enc):
        seen.append(enc)
        return plain(enc)

    run.chain.objective = objective
    losses = part.step(run, rows)
    sides = ["query"] if same_space else ["query", "document"]
    assert list(losses) == sides and len(seen) == len(sides)
    keys = run.data.keys
    kept = [int(row) for row in rows if keys.target[row] >= 0]
    assert len(kept) < len(rows), "an item without a label must be among them"
    label, group = [int(keys.target[r]) for r in kept], [int(keys.group[r]) for r in kept]
    z = {side: run.encode(side, np.array(kept)).tolist() for side in ("query", "document")}
    ignored = others = 0
    for side, enc in zip(sides, seen, strict=True):
        own, other = z[side], z["document" if side == "query" else "query"]
        values = []
        for i in range(len(kept)):
            right = [j for j in range(len(kept)) if enc.rel.pos[i, j] > 0]
            drawn = {label[j] for j in right}
            assert len(drawn) <= 1, "positives are of one class"
            b = drawn.pop() if drawn else label[i]
            others += b != label[i]
            assert right == [j for j in range(len(kept)) if label[j] == b and not (same_space and i == j)]
            wrong = [j for j in range(len(kept)) if label[j] not in (b, label[i]) and group[j] != group[i]]
            assert wrong == [j for j in range(len(kept)) if enc.rel.neg[i, j] > 0]
            ignored += sum(label[j] not in (b, label[i]) and group[j] == group[i] for j in range(len(kept)))
            gate = _gate(part, label[i], b)
            s = [_cosine(gate, own[i], other[j]) for j in range(len(kept))]
            assert np.allclose(enc.sim[i].tolist(), s, atol=1e-5), (options, side, i)
            if right:
                rest = sum(math.exp(s[j] / TEMPERATURE) for j in wrong)
                terms = [math.log(1 + rest / math.exp(s[p] / TEMPERATURE)) for p in right]
                values.append(sum(terms) / len(terms))
        expected = sum(values) / len(values) / len(sides)
        assert math.isclose(losses[side].item(), expected, rel_tol=1e-4), (options, side)
    assert others > 0 and ignored > 0, "a case in which nothing is left out shows nothing"
    moved = torch.autograd.grad(sum(losses.values()), list(part.parameters()))
    assert all(x.abs().sum() > 0 for x in moved), "class vectors and gates must learn"
    unlabelled = np.arange(0, 40, 9)
    nothing = part.step(run, unlabelled)
    assert all(x.item() == 0 and x.requires_grad for x in nothing.values())
    run.recipe = run.recipe.but(both_ways=False)
    assert list(part.step(run, rows)) == ["query"]


def _draws(build):
    """The second class is drawn as often as the batch has it, whatever the row's own."""
    run = _run()
    part = build()
    part.begin(run)
    target = run.data.keys.target
    rows = np.array([i for i in range(40) if target[i] >= 0])[:20]
    share, seen = Counter(target[rows].tolist()), Counter()

    def objective(enc):
        for i, row in enumerate(enc.rel.pos.tolist()):
            seen[next((int(target[rows[j]]) for j, v in enumerate(row) if v), int(target[rows[i]]))] += 1
        return enc.sim.sum(1)

    run.chain.objective = objective
    for run.step in range(100):
        part.step(run, rows)
    for label, count in share.items():
        even = 2000 * count / 20
        assert abs(seen[label] - even) < 5 * even**0.5, (label, seen[label], even)


def _overlap(build, options):
    run = _run()
    part = build(**options)
    part.begin(run)
    assert part.classes.tolist() == [0, 1, 2, 3]
    found = part.overlap()
    for a in range(4):
        for b in range(4):
            pairs = list(zip(_gate(part, a, a), _gate(part, b, b), strict=True))
            assert math.isclose(found[a, b], sum(map(min, pairs)) / sum(map(max, pairs)), rel_tol=1e-4)
    one, other = torch.tensor([1]), torch.tensor([3])
    assert torch.equal(part.gates(one, other), part.gates(other, one))
    assert np.allclose(part.gates(one, other)[0].tolist(), _gate(part, 1, 3), atol=1e-5)


def _refused(build, options):
    for classes, words in ((1, "classes apart"), (2, "two are told from a third")):
        run = labelled_run()
        with pytest.raises(PartError, match=words):
            build(**options).begin(_with_target(run, torch.arange(40) % classes))
    for shared in (0, 15):
        with pytest.raises(PartError, match="here most appear once"):
            build(**options).begin(_with_target(small_run(), torch.arange(40).clamp_min(shared)))
    build(**options).begin(_with_target(small_run(), torch.arange(40).clamp_min(20)))
    with pytest.raises(PartError, match="leave it out"):
        mixed = labelled_run(augment="mochi")
        mixed.chain.augment = (lambda enc, rng: enc,)
        build(**options).begin(mixed)
    many = small_run(n=4200)
    keys = many.data.keys
    many.data = replace(many.data, keys=Keys(keys.item, keys.item, keys.item // 2))
    with pytest.raises(PartError, match="2048 are the most"):
        build(**options).begin(many)


def _gate(part, a, b):
    """sigmoid(W2 norm(relu(W1 norm(relu((e_a + e_b) / 2)) + b1)) + b2)."""
    e = [max(0.0, (x + y) / 2) for x, y in zip(part.vectors[a].tolist(), part.vectors[b].tolist(), strict=True)]
    inner = [max(0.0, _dot(w, _norm(e)) + c) for w, c in zip(part.first.tolist(), part.inner.tolist(), strict=True)]
    outer = zip(part.second.tolist(), part.outer.tolist(), strict=True)
    return [1 / (1 + math.exp(-_dot(w, _norm(inner)) - c)) for w, c in outer]


def _norm(x):
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return [(v - mean) / spread for v in x]


def _cosine(gate, a, b):
    a, b = ([g * v for g, v in zip(gate, x, strict=True)] for x in (a, b))
    return _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b))


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
