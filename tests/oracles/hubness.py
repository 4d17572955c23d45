"""Results counted one by one; hubs that are planted cost something, and where there are none nothing is found."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"k": 3, "items": 50}]


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def world(seed, hubs, n=300):
    """Pairs, and documents of which so many of the test part lie where all queries are near."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 16))
    z[:, 0] += 2
    q, k = z + 0.7 * rng.normal(size=z.shape), z + 0.7 * rng.normal(size=z.shape)
    k[:, 0] -= 2
    at = np.arange(1, 2 * hubs, 2)
    k[at] = 0.4 * k[at]
    k[at, 0] += 2.5
    split = ["test" if i % 2 else "validation" if i % 6 == 0 else "train" for i in range(n)]
    return unit(q), unit(k), Collection.of({"id": [f"i{i:03d}" for i in range(n)], "split": split})


def check(build, options):
    k, items = options.get("k", 10), options.get("items", 2000)
    q, d, collection = world(0, 15)
    report = build(**options)({"q": q, "k": d}, collection, seed=2)
    finding = report.findings()[0]
    rows = [int(i[1:]) for i in finding.ids]
    times = dict.fromkeys(rows, 0)
    for i in rows:
        for j in sorted(rows, key=lambda j: -float(q[i] @ d[j]))[:k]:
            times[j] += 1
    n, mean = len(rows), sum(times.values()) / len(rows)
    assert abs(mean - k) < 1e-12 and n == min(150, items)
    spread = math.sqrt(sum((v - mean) ** 2 for v in times.values()) / n)
    assert (
        abs(report.figure("skewness of N").value - sum((v - mean) ** 3 for v in times.values()) / n / spread**3) < 1e-9
    )
    assert abs(report.figure("never found").value - sum(v == 0 for v in times.values()) / n) < 1e-12
    most = sorted(times.values(), reverse=True)
    assert [e.scores[0] for e in finding.examples] == most[:12]
    assert abs(report.figure("share of the hubs").value - sum(most[: max(1, n // 100)]) / sum(most)) < 1e-12
    if n < 150:
        return
    split = collection.values("split")
    bank, t = [i for i in range(len(q)) if split[i] == "train"], report.facts["temperature"]
    drawn = {j: math.log(sum(math.exp(q[b] @ d[j] / t) for b in bank) / len(bank)) for j in rows}
    values = []
    for i in rows:
        plain = sum(q[i] @ d[j] > q[i] @ d[i] for j in rows) < k
        held = sum(q[i] @ d[j] / t - drawn[j] > q[i] @ d[i] / t - drawn[i] + 1e-12 for j in rows) < k
        values.append(float(held) - float(plain))
    assert np.allclose(finding.values, values)
    assert finding.p < 0.01 and {int(e.ids[0][1:]) for e in finding.examples} <= set(range(1, 30, 2))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(300, 6))
        clean = build(**options)({"q": unit(z), "k": unit(z + 0.6 * rng.normal(size=z.shape))}, collection, seed=seed)
        assert clean.findings()[0].p > 0.05
