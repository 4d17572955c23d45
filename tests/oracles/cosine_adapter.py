"""The query-dependent map and its loss in loops; training checked through the loss and by finite differences."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.hits import Hits

CASES = [{}, {"recall": 0.8, "candidates": 15, "hidden": 6, "epochs": 20, "seed": 3}, {"hidden": 0, "recall": 0.9}]


def world(seed, n=60, dim=5):
    """Queries of two kinds that want different thresholds: for one kind the relevant documents lie nearer."""
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(n, dim))
    q[:, 0] = np.where(np.arange(n) % 2, 1.5, -1.5)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    wide = np.where(np.arange(n) % 2, 0.15, 0.6)[:, None]
    k = np.concatenate([q + wide * rng.normal(size=q.shape), rng.normal(size=(n, dim))])
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    return q, k, np.stack([np.arange(n)] * 2, axis=1)


def probability(part, query, cosine):
    """sigmoid of the power map, with its three numbers from the network, one multiplication at a time."""
    hidden = []
    for j in range(part.w1_.shape[1]):
        total = part.b1_[j]
        for i in range(len(query)):
            total += query[i] * part.w1_[i][j]
        hidden.append(math.tanh(total))
    o = []
    for m in range(3):
        total = part.b2_[m]
        for j, h in enumerate(hidden):
            total += h * part.w2_[j][m]
        o.append(3.0 * math.tanh(total / 3.0))
    a, p = part.slope_ * math.exp(o[0]), math.exp(o[1])
    c = part.centre_ * math.exp(part.spread_ * o[2])
    u = (1 + cosine) / 2
    big_a, big_b = a * c ** (1 - p) / p, -a * c / p
    return 1 / (1 + math.exp(-(big_a * u**p + big_b)))


def check(build, options):
    q, k, pairs = world(0)
    part = build(**options).fit(q[:40], k, pairs=pairs[:40])
    ids = [f"d{j:03d}" for j in range(len(k))]
    hits = Hits.sorted(np.array([ids] * 20), q[40:] @ k.T, 30)
    out = part.rank(q[40:], hits, None)
    cut = 0
    for i in range(20):
        want = []
        for id_, cosine in hits[i]:
            value = probability(part, q[40 + i], cosine)
            if abs(value - part.threshold_) < 1e-9:
                continue
            if value > part.threshold_:
                want.append((id_, value))
            else:
                cut += 1
        found = out[i]
        assert [d for d, _ in found] == [d for d, _ in want], (found, want)
        for (_, score), (_, value) in zip(found, want, strict=True):
            assert abs(score - value) < 1e-5
    assert cut, "nothing was cut off"
    check_recall(build, options)
    if options.get("hidden", 32):
        check_gradient(build, options)
        check_learns(build, options)


def check_recall(build, options):
    """On queries like the fitted ones about the asked share of the relevant documents that are candidates stays."""
    q, k, pairs = world(1, n=400)
    part = build(**options).fit(q[:300], k, pairs=pairs[:300])
    seen, stay = 0, 0
    for i in range(300, 400):
        if sum(float(q[i] @ d) > float(q[i] @ k[i]) for d in k) < options.get("candidates", 100):
            seen += 1
            stay += probability(part, q[i], float(q[i] @ k[i])) >= part.threshold_
    target = options.get("recall", 0.95)
    assert seen >= 30 and stay / seen >= target - 0.15, (stay, seen, target)


def check_gradient(build, options):
    """Slopes of the mean logistic loss by finite differences."""
    q, k, pairs = world(2)
    part = build(**options).fit(q, k, pairs=pairs)
    rng = np.random.default_rng(0)
    part.w2_, part.b2_ = rng.normal(size=part.w2_.shape) * 0.3, rng.normal(size=3) * 0.3
    rows, cosines = rng.integers(0, len(q), 12), rng.uniform(-0.5, 1, 12)
    y = rng.random(12) < 0.4

    def loss():
        total = 0.0
        for r, s, relevant in zip(rows, cosines, y, strict=True):
            value = probability(part, q[r], s)
            total -= math.log(value if relevant else 1 - value)
        return total / 12

    slopes = part._gradients(q, rows, (1 + cosines) / 2, y)
    for weight, slope in zip((part.w1_, part.b1_, part.w2_, part.b2_), slopes, strict=True):
        at = tuple(int(rng.integers(0, n)) for n in weight.shape)
        weight[at] += 1e-5
        above = loss()
        weight[at] -= 2e-5
        below = loss()
        weight[at] += 1e-5
        assert abs((above - below) / 2e-5 - slope[at]) < 1e-6, (at, slope[at])


def check_learns(build, options):
    """Where two kinds of query want different thresholds, the map beats one logistic regression on unseen queries."""
    q, k, pairs = world(3, n=400)
    losses = []
    for hidden in (0, options.get("hidden", 32)):
        part = build(**{**options, "hidden": hidden, "epochs": 60}).fit(q[:300], k, pairs=pairs[:300])
        total, n = 0.0, 0
        for i in range(300, 400):
            for j in (i, *range(0, 400, 40)):
                value = probability(part, q[i], float(q[i] @ k[j]))
                total -= math.log(value if i == j else 1 - value)
                n += 1
        losses.append(total / n)
    assert losses[1] < losses[0], losses
