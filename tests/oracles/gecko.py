"""Captions about two columns whose truth is known; every score is counted question by question."""

from __future__ import annotations

import numpy as np

from tellapart.core import judging
from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"columns": "colour|size", "choices": 2, "rated": "people", "items": 50}]
COLOURS, SIZES = ("red", "blue", "dark blue", "green"), ("small", "large", "huge")


def check(build, options):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        true = [COLOURS[rng.integers(4)], SIZES[rng.integers(3)]]
        wrong = [bool(rng.random() < 0.3), bool(rng.random() < 0.1)]
        said = [next(v for v in rng.permutation(p) if (v != t) == w)
                for t, p, w in zip(true, (COLOURS, SIZES), wrong, strict=True)]  # fmt: skip
        rows.append((f"i{i:02d}", *true, f"A {said[1]}, {said[0]} kite", -float(sum(wrong)), wrong))
    names = ("id", "colour", "size", "text", "people")
    collection = Collection.of({n: [r[j] for r in rows] for j, n in enumerate(names)})
    report = build(**options)({}, collection, seed=1)
    drawn = sorted(np.random.default_rng(1).choice(60, min(options.get("items", 1000), 60), replace=False))
    held = [rows[i][5] for i in drawn]
    # Two answers may leave out what is true: then the judge says nothing, and the question does not count.
    if "choices" not in options:
        right = sum((not c) + (not s) for c, s in held) / 2 / len(held)
        assert abs(report.figure("score").value - right) < 1e-9
        assert abs(report.figure("hard match").value - right) < 1e-9
        gap = sum(c - s for c, s in held) / len(held)
        assert abs(report.figure("skill colour").value - gap) < 1e-9
        assert abs(report.figure("skill size").value + gap) < 1e-9
        colour, size = (
            next(f.p for f in report.findings() if f.figure.name == f"skill {n}") for n in ("colour", "size")
        )
        assert colour < 0.05 < size
        # kite is in no column: two of three words are asked about, three of four where the colour has two
        words = [(2 if "dark" not in rows[i][3] else 3) / (3 if "dark" not in rows[i][3] else 4) for i in drawn]
        assert abs(report.figure("coverage").value - sum(words) / len(words)) < 1e-9
    else:
        assert report.facts["unanswered"] > 0
        assert report.facts["questions"] == 100
        table = next(b for b in report.blocks if getattr(b, "title", "") == "Agreement with people")
        assert table.rows[0][1].value > 0.3

    def written(question):
        if not question.answers:
            return (
                "kite | What flies? | kite; bird | kite\n1. Red | Is it red? | yes; no | yes\nbad | line\nsky|Up?|a;b|a"
            )
        return {"yes": 0.6, "no": 0.2} if set(question.answers) == {"yes", "no"} else "bird"

    judging.offer("writer-of-the-oracle", written)
    try:
        spec = {"writer": "writer-of-the-oracle", "judge": "writer-of-the-oracle"}
        report = build(**{**options, **spec, "rated": ""})({}, collection, seed=1)
    finally:
        judging._offered.pop("writer-of-the-oracle")
    # The writer takes back what it answers otherwise (kite), words that no caption has (sky), and lines that are none.
    red = [i for i in drawn if "red" in rows[i][3]]
    assert report.facts["questions"] == len(red)
    assert len(red) < 30
    assert "score" not in [f.name for f in report.figures()]
