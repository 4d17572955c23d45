"""The guide's mask by loops over entries."""

from __future__ import annotations

from dataclasses import replace

import torch

from tellapart.contract._blocks import draws_of, weighted_rows

CASES: list[dict] = [{}, {"margin": 0.3}, {"margin": -0.2}]


def check(build, options):
    margin = options.get("margin", 0.0)
    plain = weighted_rows()
    own = torch.randn(len(plain.q), 2, plain.q.shape[1], generator=torch.Generator().manual_seed(4))
    for enc in (plain, replace(plain, rows={**plain.rows, "guide_own": own.double()})):
        rel = build(**options)(enc, rng=draws_of(enc))
        guide_q, guide_k = enc.rows["guide_q"].tolist(), enc.cols["guide_k"].tolist()
        dropped = 0
        for i, row in enumerate(guide_q):
            columns = [*guide_k, *(enc.rows["guide_own"][i].tolist() if "guide_own" in enc.rows else [])]
            score = [_cosine(row, column) for column in columns]
            known = [s for s, v in zip(score, enc.rel.pos[i].tolist(), strict=False) if v > 0]
            for j in range(enc.rel.shape[1]):
                false = bool(known) and j < len(score) and score[j] > min(known) - margin
                wanted = 0.0 if false else enc.rel.neg[i, j].item()
                dropped += false and enc.rel.neg[i, j].item() > 0
                assert rel.neg[i, j].item() == wanted, (options, i, j)
        assert dropped > 0, "a case in which nothing is dropped shows nothing"


def _cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
