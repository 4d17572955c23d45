"""A word planted into the captions of each class that what the vectors show goes by; nothing where none is planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.outcomes import outcomes

CASES: list[dict] = [{}, {"by": "kind", "captions": "told", "longest": 2, "low": 0.2, "high": 0.95, "most": 1}]
N = 500
WORDS = ("water", "grass")
OTHERS = ("round", "tall", "early", "late", "plain", "fresh", "calm", "busy", "north", "south")


def world(seed, agree, options):
    """Two birds; the ground, which captions name, agrees with the kind in a share, and vectors show it more."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, N)
    ground = np.where(rng.random(N) < agree, kind, 1 - kind)
    x = rng.normal(size=(N, 6))
    x[:, 0] += 0.8 * (2 * kind - 1)
    x[:, 1] += 2.5 * (2 * ground - 1)
    told = [
        " ".join(["a", names, *rng.choice(OTHERS, 3, replace=False), WORDS[g]])
        for names, g in zip(np.array(["duck", "owl"])[kind], ground, strict=True)
    ]
    columns = {"id": [f"i{i:03d}" for i in range(N)], options.get("by", "label"): [("duck", "owl")[k] for k in kind]}
    return x, kind, ground, Collection.of({**columns, options.get("captions", "text"): told})


def fisher(a, n, b, m):
    """P(as many of a of n and more) where a + b of n + m are dealt at random."""
    return sum(math.comb(a + b, x) * math.comb(n + m - a - b, n - x) for x in range(a, min(n, a + b) + 1)) / math.comb(
        n + m, n
    )


def check(build, options):
    x, kind, ground, collection = world(0, 0.85, options)
    report = build(**options)({"document": x}, collection, seed=4)
    right = outcomes({"document": x}, collection, seed=4, by=options.get("by", "label")).right
    second = np.random.default_rng(4).random(N) >= 0.5
    found = {f.figure.name: f for f in report.findings()}
    largest = ("duck", "owl")[int(np.bincount(kind).argmax())]
    assert set(found) == {f"keyword of {n}" for n in (("duck", "owl") if "most" not in options else (largest,))}
    for name, finding in found.items():
        c = 0 if name.endswith("duck") else 1
        with_word = [int(right[i]) for i in range(N) if second[i] and kind[i] == c and ground[i] == c]
        without = [int(right[i]) for i in range(N) if second[i] and kind[i] == c and ground[i] != c]
        assert repr(WORDS[c]) in finding.said and "owl" not in repr(WORDS[c])
        gap = sum(with_word) / len(with_word) - sum(without) / len(without)
        assert finding.figure.value == pytest.approx(gap) and gap > 0.2
        goes = [int(ground[i] == c) for i in range(N) if second[i] and kind[i] == c]
        others = [int(ground[i] == c) for i in range(N) if second[i] and kind[i] != c]
        p = max(
            fisher(sum(with_word), len(with_word), sum(without), len(without)),
            fisher(sum(goes), len(goes), sum(others), len(others)),
        )
        assert finding.p == pytest.approx(p, rel=1e-6) and p < 1e-3
        for example in finding.examples:
            row = collection.row_of[example.ids[0]]
            assert kind[row] == c and ground[row] != c and not right[row]
    assert set(report.facts["keywords"].split("|")) == {WORDS[0 if n.endswith("duck") else 1] for n in found}
    x, *_, clean = world(1, 0.5, options)
    report = build(**options)({"document": x}, clean, seed=4)
    assert min([f.p for f in report.findings()], default=1) > 0.02
    with pytest.raises(DataError, match="no captions"):
        build(**{**options, "captions": "said"})({"document": x}, clean, seed=0)
    with pytest.raises(DataError, match="column of labels"):
        build(**{**options, "by": "sort"})({"document": x}, clean, seed=0)
