"""The network in loops over candidates and numbers, from the arrays that were learnt; the loss from its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.core.hits import Hits

CASES: list[dict] = [{}, {"candidates": 7, "weight": 0.3, "temperature": 0.5, "epochs": 3, "seed": 4}]
NAMES = (
    "query",
    "key",
    "value",
    "out",
    "out_b",
    "time",
    "time_b",
    "step",
    "step_b",
    "hidden",
    "hidden_b",
    "last",
    "last_b",
)


def world(seed, n=40, dim=6):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(n, dim))
    k = q + 0.6 * rng.normal(size=q.shape)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k)]
    return unit[0], unit[1], np.stack([np.arange(n)] * 2, axis=1)


def times(matrix, vector, bias=None):
    out = []
    for i, row in enumerate(matrix):
        total = 0.0 if bias is None else float(bias[i])
        for a, b in zip(row, vector, strict=True):
            total += float(a) * float(b)
        out.append(total)
    return out


def clock(step, width):
    out = []
    for i in range(0, width, 2):
        angle = step * math.exp(-math.log(10000.0) * i / width)
        out += [math.sin(angle), math.cos(angle)]
    return out[:width]


def worths(w, x, step, q, k):
    """What each of the candidates [n][d] is worth to a query [d], from noisy worths [n]."""
    c = times(
        w["step"], [v / (1 + math.exp(-v)) for v in times(w["time"], clock(step, len(q)), w["time_b"])], w["step_b"]
    )
    asking = times(w["query"], [a + b for a, b in zip(q, c, strict=True)])
    logits, values = [], []
    for candidate, noisy in zip(k, x, strict=True):
        moved = [a + b for a, b in zip(candidate, c, strict=True)]
        logits.append(sum(a * b for a, b in zip(asking, times(w["key"], moved), strict=True)) + noisy)
        values.append(times(w["value"], moved))
    share = chances(logits)
    mixed = times(
        w["out"], [sum(s * v[i] for s, v in zip(share, values, strict=True)) for i in range(len(q))], w["out_b"]
    )
    out = []
    for candidate, s in zip(k, share, strict=True):
        hidden = [max(0.0, v) for v in times(w["hidden"], [*mixed, *candidate], w["hidden_b"])]
        out.append(times(w["last"], hidden, w["last_b"])[0] + s)
    return out


def chances(logits):
    raised = [math.exp(v - max(logits)) for v in logits]
    return [v / sum(raised) for v in raised]


def expected(part, options, q, k, generated):
    """The scores of one query: cosines, and for the nearest also what is generated of them."""
    cosine = [sum(float(a) * float(b) for a, b in zip(q, document, strict=True)) for document in k]
    order = sorted(range(len(k)), key=lambda j: -cosine[j])
    best = order[: options.get("candidates", 20)]
    w = {name: getattr(part, f"{name}_") for name in NAMES}
    added = generated(w, q, [k[j] for j in best])
    for j, share in zip(best, added, strict=True):
        cosine[j] += options.get("weight", 1.0) * share
    return cosine


def check_rank(build, options, generated):
    q, k, pairs = world(0)
    part = build(**options).fit(q[:30], k, pairs=pairs[:30])
    ids = [f"d{j:03d}" for j in range(len(k))]
    hits = Hits.sorted(np.array([ids] * 5), q[30:35] @ k.T, 30)
    out = part.rank(q[30:35], hits, lambda wanted: np.stack([k[int(i[1:])] for i in wanted]))
    for i in range(5):
        want = expected(part, options, q[30 + i], k, lambda *a: generated(part, *a))
        for id_, score in out[i]:
            assert score == pytest.approx(want[int(id_[1:])], abs=2e-4)
    return part


def check(build, options):
    def one_step(part, w, q, k):
        return chances(worths(w, [0.0] * len(k), 0, q, k))

    part = check_rank(build, options, one_step)
    q, k, _ = world(1, n=5)
    w = {name: getattr(part, f"{name}_") for name in NAMES}
    there = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    among = np.stack([k[[0, 1, 0]], k[[1, 2, 3]]])
    given = {name: torch.from_numpy(np.asarray(value)) for name, value in w.items()}
    loss = part._loss(given, torch.from_numpy(q[:2]).float(), torch.from_numpy(among).float(), there, None)
    temperature = options.get("temperature", 0.1)
    total = 0.0
    for i, count in ((0, 2), (1, 3)):
        logits = [v / temperature for v in worths(w, [0.0] * count, 0, q[i], among[i][:count])]
        total -= math.log(chances(logits)[0])
    assert loss.item() == pytest.approx(total / 2, rel=1e-3)
    if not options:
        _learns(build)


def _learns(build):
    """A pair of axes tells which candidate is right, which no cosine does: a fitted part finds it."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(150, 6))
    q = np.concatenate([base, np.ones((150, 1)), np.zeros((150, 1))], 1)
    right, wrong = (np.concatenate([base, np.zeros((150, 1)), sign * np.ones((150, 1))], 1) for sign in (1, -1))
    k = np.concatenate([wrong, right])
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    pairs = np.stack([np.arange(150), np.arange(150, 300)], 1)
    part = build(candidates=6, epochs=60, learning_rate=0.003).fit(q[:100], k, pairs=pairs[:100])
    ids = np.array([f"{j:03d}" for j in range(300)])
    hits = Hits.sorted(np.tile(ids, (50, 1)), q[100:] @ k.T, 20)
    out = part.rank(q[100:], hits, lambda wanted: k[wanted.astype(int)])
    before, after = ((h.ids[:, 0] == ids[pairs[100:, 1]]).mean() for h in (hits, out))
    assert before < 0.2 and after > 0.8, (before, after)
