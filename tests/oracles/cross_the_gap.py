"""A text tower that can say only what pictures show, not how they were taken: the best word is a projection."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [
    {"rate": 0.2},
    {"by": "kind", "template": "see * here", "queries": 12, "steps": 150, "rate": 0.2},
    {},
]


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def average_precision(s, right, own):
    order = sorted((j for j in range(len(s)) if j != own), key=lambda j: -s[j])
    found, total = 0, 0.0
    for place, j in enumerate(order, 1):
        if right[j]:
            found += 1
            total += found / place
    return total / found


def tower(table):
    """The mean of three token vectors, of which the first and last say nothing."""
    import torch

    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding.from_pretrained(torch.from_numpy(table))

        def forward(self, tokens, mask):
            return self.words(tokens).sum(1)

    def prepare(texts):
        words = {"a": 0, "photo": 0, "of": 0, "see": 0, "here": 0, "cat": 1, "dog": 2}
        rows = torch.tensor([[words[w] for w in text.split()] for text in texts])
        return rows, torch.ones_like(rows)

    return SimpleNamespace(module=Mean, prepare=prepare)


def check(build, options):
    rng = np.random.default_rng(0)
    by, n = options.get("by", "label"), 90
    kind = np.arange(n) % 9
    shown = rng.normal(size=(9, 4))[kind] + 0.3 * rng.normal(size=(n, 4))
    taken = 3 * rng.normal(size=(n, 4))
    z = unit(np.concatenate([shown, taken], axis=1)).astype(np.float32)
    table = np.zeros((3, 6), np.float32)
    table[1:] = 0.3 * rng.normal(size=(2, 6))
    weight = np.zeros((8, 6), np.float32)
    weight[:4] = rng.normal(size=(4, 6))
    behind = [[SimpleNamespace(weight=weight, bias=np.zeros(8, np.float32), relu=False)]]
    collection = Collection.of({"id": [f"i{i:02d}" for i in range(n)], by: [f"k{v}" for v in kind]})
    text = SimpleNamespace(encoder=tower(table), stages=behind)
    report = build(**options)({"image": z, "text-encoder": text}, collection, seed=0)
    finding = report.findings()[0]
    rows = [int(i[1:]) for i in finding.ids]
    assert len(rows) == min(n, options.get("queries", 100))
    best = unit(np.where(np.arange(8) < 4, z, 0))
    within = [average_precision(z @ z[i], kind == kind[i], i) for i in rows]
    across = [average_precision(z @ best[i], kind == kind[i], i) for i in rows]
    assert abs(report.figure("mAP within one side").value - np.mean(within)) < 1e-6
    reached = np.mean([best[i] @ z[i] for i in rows])
    close = 0.02 if options else 0.2
    assert abs(report.figure("inverted").value - reached) < close
    assert abs(report.figure("mAP across").value - np.mean(across)) < 2 * close
    if options:
        assert finding.p < 0.05 and finding.figure.value > 0.1
