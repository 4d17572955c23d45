"""A small corpus chosen document by document, and models ordered on it by places that are counted one by one."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"queries": 20, "documents": 45, "items": 130}]
SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625)


def cosines(a, b):
    return (a / np.sqrt((a * a).sum(1))[:, None]) @ (b / np.sqrt((b * b).sum(1))[:, None]).T


def tau(a, b):
    top = left = right = 0.0
    for i in range(len(a)):
        for j in range(i):
            x, y = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
            top, left, right = top + x * y, left + x * x, right + y * y
    return top / math.sqrt(left * right) if left * right else 0.0


def gain(scores, answers, corpus):
    best = max(scores[d] for d in answers)
    others = scores[[d for d in corpus if d not in answers]]
    place = 1 + (others > best + 1e-6).sum() + 0.5 * (abs(others - best) <= 1e-6).sum()
    return 1 / math.log2(1 + place) if place <= 10 else 0.0


def check(build, options):
    queries, documents = options.get("queries", 200), options.get("documents", 400)
    total = 600 if not options else 160
    rng = np.random.default_rng(4)
    k = rng.normal(size=(total, 16))
    q = k + 0.8 * rng.normal(size=k.shape)
    group = [i if i < total - 10 else i // 2 for i in range(total)]
    held = {"id": [f"d{i:03d}" for i in range(total)], "text": ["x"] * total, "label": ["y"] * total, "group": group}
    report = build(**options)({"q": q, "k": k}, Collection.of(held), seed=2)

    rng = np.random.default_rng(2)
    n = min(options.get("items", 10_000), total)
    rows = sorted(rng.choice(total, n, replace=False))
    asked = sorted(rng.choice(n, queries, replace=False))
    answers = [{d for d in range(n) if group[rows[d]] == group[rows[a]]} for a in asked]
    q, k = q[rows][asked], k[rows]
    turns = [np.linalg.qr(rng.normal(size=(16, 16)))[0] for _ in range(9)]
    unit = [v / np.sqrt((v * v).sum(1))[:, None] for v in (q, k)]
    scores = [
        unit[0] @ unit[1].T,
        np.sign(q) @ np.sign(k).T,
        (unit[0] @ turns[8][:, :8]) @ (unit[1] @ turns[8][:, :8]).T,
    ]
    orders = [[np.argsort(-np.round(s, 6), kind="stable").tolist() for s in each] for each in scores]
    kept = set().union(*answers)
    forced = sorted(kept)
    for place in range(n):
        if len(kept) == documents:
            break
        named = [order[i][place] for order in orders for i in range(queries)]
        for d in sorted(set(named), key=lambda d, named=named: (-named.count(d), d)):
            if len(kept) < documents:
                kept.add(d)
    assert len(kept) == documents
    others = [d for d in range(n) if d not in forced]
    drawn = forced + rng.choice(others, len(kept) - len(forced), replace=False).tolist()
    means = [[], [], []]
    for share, turn in zip(SHARES, turns, strict=False):
        width = max(1, round(share * 16))
        s = cosines(q @ turn[:, :width], k @ turn[:, :width])
        for corpus, out in zip((range(n), sorted(kept), drawn), means, strict=True):
            out.append(sum(gain(s[i], answers[i], corpus) for i in range(queries)) / queries)
    assert abs(report.figure("order kept, pooled").value - tau(means[0], means[1])) < 1e-9
    assert abs(report.figure("order kept, random").value - tau(means[0], means[2])) < 1e-9
    table = next(block for block in report.blocks if hasattr(block, "rows"))
    for m, row in enumerate(table.rows):
        assert np.allclose(row[1:], [out[m] for out in means], atol=1e-6)
