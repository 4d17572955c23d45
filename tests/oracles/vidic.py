"""Four describers whose faults are known; what is right is counted line by line."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core import judging
from tellapart.core.collection import Collection

CASES: list[dict] = [
    {},
    {"judge": "reader-of-the-oracle", "description": "said_of_it", "pair": "both", "category": "of"},
]
PARTS = ("subject", "style", "motion", "place")


def lines(bot, options, pairs=25):
    rng, rows = np.random.default_rng(5), []
    for pair in range(pairs):
        differs = rng.permutation([True, True, False, False]).tolist()
        told = [
            {"perfect": d, "all differ": True, "none differ": False}.get(bot, d if rng.random() < 0.7 else not d)
            for d in differs
        ]
        text = " ".join(f"The {p} {'differs' if t else 'is the same'}." for p, t in zip(PARTS, told, strict=True))
        for p, d, t in zip(PARTS, differs, told, strict=True):
            kind = "difference" if d else "similarity"
            question = f"Does the {p} differ?"
            rows.append((kind, question, "yes" if d else "no", text, pair, p, "yes" if t else "no", t == d))
    names = ("kind", "question", "answer", options.get("description", "text"), options.get("pair", "pair"),
             options.get("category", "category"), "said")  # fmt: skip
    held = {n: [r[j] for r in rows] for j, n in enumerate(names)}
    return rows, Collection.of({"id": [f"l{i:03d}" for i in range(len(rows))], **held})


def reads(question):
    part = question.text.split()[2]
    return "yes" if f"The {part} differs." in question.texts[0] else "no"


def hypergeometric(right, kind):
    """Fisher's two-sided test of two shares, by their difference."""
    n, a, ones = len(right), sum(k == "similarity" for k in kind), int(sum(right))
    mine = sum(r for r, k in zip(right, kind, strict=True) if k == "similarity")
    found, p = abs(mine / a - (ones - mine) / (n - a)), 0.0
    for x in range(max(0, a + ones - n), min(a, ones) + 1):
        if abs(x / a - (ones - x) / (n - a)) >= found - 1e-9:
            p += math.comb(ones, x) * math.comb(n - ones, a - x) / math.comb(n, a)
    return p


def check(build, options):
    judging.offer("reader-of-the-oracle", reads)
    try:
        seen = {}
        for bot in ("perfect", "all differ", "none differ", "random"):
            rows, collection = lines(bot, options)
            report = build(**options)({}, collection, seed=0)
            same, other = ([r[7] for r in rows if r[0] == kind] for kind in ("similarity", "difference"))
            seen[bot] = (report.figure("similarity accuracy").value, report.figure("difference accuracy").value)
            assert abs(seen[bot][0] - sum(same) / len(same)) < 1e-9
            assert abs(seen[bot][1] - sum(other) / len(other)) < 1e-9
            (finding,) = report.findings()
            assert abs(finding.figure.value - (seen[bot][0] - seen[bot][1])) < 1e-9
            assert abs(finding.p - hypergeometric([r[7] for r in rows], [r[0] for r in rows])) < 1e-6
            table = next(b for b in report.blocks if getattr(b, "title", "") == "By category")
            for row in table.rows:
                mine = [r[7] for r in rows if r[5] == row[0] and r[0] == "difference"]
                assert abs(row[2].value - sum(mine) / len(mine)) < 1e-9
        assert seen["perfect"] == (1.0, 1.0)
        assert seen["all differ"] == (0.0, 1.0)
        assert seen["none differ"] == (1.0, 0.0)
    finally:
        judging._offered.pop("reader-of-the-oracle")
