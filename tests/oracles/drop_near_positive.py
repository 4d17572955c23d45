"""The positive-relative filter by loops over entries."""

from __future__ import annotations

from tellapart.contract._blocks import draws_of, weighted_rows

CASES: list[dict] = [{}, {"margin": 0.5}, {"margin": -0.5}]


def check(build, options):
    margin = options.get("margin", 0.05)
    enc = weighted_rows()
    rel = build(**options)(enc, rng=draws_of(enc))
    bars = []
    for i, row in enumerate(enc.q.tolist()):
        columns = [*enc.k.tolist(), *enc.own[i].tolist()]
        score = [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        known = [s for s, v in zip(score, enc.rel.pos[i].tolist(), strict=True) if v > 0]
        if known:
            bars.append(min(known))
        for j, s in enumerate(score):
            dropped = bool(known) and s > min(known) - abs(min(known)) * margin
            assert rel.neg[i, j].item() == (0.0 if dropped else enc.rel.neg[i, j].item()), (options, i, j)
    assert min(bars) < 0 < max(bars), "both signs of the positive's score must be met"
