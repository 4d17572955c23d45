"""Entropy of singular values and mean cosines in loops; a collapse that costs labels, and none."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"by": "kind", "items": 90}]


def check(build, options):
    by, items = options.get("by", "label"), options.get("items", 2000)
    rng = np.random.default_rng(0)
    n = 150
    kind = np.arange(n) % 3
    x = rng.normal(size=(3, 20))[kind] * 1.5 + rng.normal(size=(n, 20))
    collection = Collection.of({"id": [f"i{i:03d}" for i in range(n)], by: [f"k{v}" for v in kind]})
    collapsed = np.outer(x[:, 0], np.ones(6)) + 0.05 * rng.normal(size=(n, 6))
    lost = build(**options)({"document": x, "k": collapsed}, collection, seed=0)
    kept = build(**options)({"document": x, "k": x @ np.linalg.qr(rng.normal(size=(20, 20)))[0]}, collection, seed=0)
    finding = lost.findings()[0]
    assert finding.p < 1e-4 and finding.figure.value > 0.2 and kept.findings()[0].p > 0.05
    assert lost.figure("effective rank").value < 3 < 12 < kept.figure("effective rank").value
    rows = [int(i[1:]) for i in finding.ids]
    assert len(rows) == min(n, items)
    for report, z in ((lost, collapsed), (kept, x)):
        u = [v / math.sqrt(sum(v * v)) for v in z[rows]]
        s = np.linalg.svd(np.array(u), compute_uv=False)
        p = s / s.sum()
        assert abs(report.figure("effective rank").value - math.exp(-sum(v * math.log(v) for v in p if v > 0))) < 1e-6
        cosines = [u[i] @ u[j] for i in range(len(u)) for j in range(i)]
        assert abs(report.figure("anisotropy").value - sum(cosines) / len(cosines)) < 1e-9
