"""Queries in three scripts: an encoder that knows two of them, one that knows all, and a column of languages."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Table, Text

CASES: list[dict] = [{}, {"k": 3, "items": 80, "column": "tongue"}]
FIRST = {"LATIN": ord("a"), "GREEK": ord("α"), "CYRILLIC": ord("а")}
N = 80


def made():
    """Every fourth is Greek, every fourth Cyrillic, the others Latin: three words of four letters each."""
    rng = np.random.default_rng(3)
    kinds = [("LATIN", "GREEK", "LATIN", "CYRILLIC")[i % 4] for i in range(N)]
    texts = [" ".join("".join(chr(FIRST[k] + s) for s in rng.integers(0, 16, 4)) for _ in range(3)) for k in kinds]
    return texts, kinds


def encoder(unread=""):
    """A sum over words; of a script that is not read every letter is one and the same."""

    def one(text):
        first = FIRST.get(unread, 0)
        read = "".join("?" if first and first <= ord(s) < first + 20 else s for s in text)
        return sum(np.random.default_rng(zlib.crc32(w.encode())).normal(size=24) for w in read.split())

    return lambda texts: np.array([one(t) for t in texts]) + 1e-6


def cosine(a, b):
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def check(build, options):
    texts, kinds = made()
    columns = {"id": [f"q{i:02d}" for i in range(N)], "anchor": texts, "positive": [f"to {t}" for t in texts]}
    if "column" in options:
        columns["tongue"] = [{"LATIN": "en", "GREEK": "el", "CYRILLIC": "bg"}[k] for k in kinds]
    collection, k = Collection.of(columns), options.get("k", 10)
    named = {"LATIN": "en", "GREEK": "el", "CYRILLIC": "bg"} if "column" in options else {s: s for s in FIRST}
    z = encoder()(texts)
    for unread in ("CYRILLIC", ""):
        q = encoder(unread)(texts)
        hits = []
        for i in range(N):
            own = cosine(q[i], z[i])
            hits.append(sum(cosine(q[i], z[j]) > own + 1e-6 for j in range(N) if j != i) < k)
        report = build(**options)({"k": z, "text-encoder": encoder(unread)}, collection, seed=0)
        found = {f.figure.name: f for f in report.findings()}
        rows = {row[0]: row for row in next(b for b in report.blocks if isinstance(b, Table)).rows}
        assert set(found) == {f"queries in {n}" for n in named.values()}
        for kind, name in named.items():
            inside = [i for i in range(N) if kinds[i] == kind]
            outside = [i for i in range(N) if kinds[i] != kind]
            gap = np.mean([hits[i] for i in outside]) - np.mean([hits[i] for i in inside])
            one = found[f"queries in {name}"]
            assert one.figure.value == pytest.approx(gap)
            assert (one.p < 1e-4) == (kind == unread)
            pairs = [cosine(q[i], q[j]) for i in inside for j in inside if i != j]
            assert rows[name][4] == pytest.approx(np.mean(pairs)) and rows[name][1] == len(inside)
        if unread:
            assert rows[named["CYRILLIC"]][4] == pytest.approx(1.0)
            assert "cosine of 1.00" in found[f"queries in {named['CYRILLIC']}"].said
            assert set(found[f"queries in {named['CYRILLIC']}"].examples[0].ids) <= {
                f"q{i:02d}" for i in range(3, N, 4)
            }
    one = {"k": z, "text-encoder": encoder()}
    alone = build()(one, Collection.of({"anchor": ["abc def"] * N, "positive": ["x"] * N}), seed=0)
    assert any("no script has 20 of the 80 queries" in b.text for b in alone.blocks if isinstance(b, Text))
    with pytest.raises(DataError, match="no column 'nowhere'"):
        build(column="nowhere")(one, collection, seed=0)
