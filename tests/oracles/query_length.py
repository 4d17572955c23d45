"""Queries of two, five and nine words: encoders that fail short ones, long ones, and ones that are hard and long."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Table, Text

CASES: list[dict] = [{}, {"k": 2, "items": 90, "pool": 90}]
SIZES, DIM = (2, 5, 9), 40


def drawn(text):
    return np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIM)


def texts(seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{w}" for w in rng.choice(60, SIZES[i % 3], replace=False)) for i in range(90)]


class Encoder:
    """The sum of its words' vectors; what else happens to a query depends on its kind.

    short: one or two words are drowned in noise; long: all words after the fifth are one and the same.
    """

    cut = 0

    def __init__(self, kind, hard=()):
        self.kind, self.hard = kind, set(hard)

    def query(self, given):
        return np.array([self.one(text) for text in given])

    def one(self, text):
        words = text.split()
        z = sum(drawn("again" if self.kind == "long" and i >= 5 else w) for i, w in enumerate(words))
        if any(set(words) <= set(whole.split()) for whole in self.hard):
            z = drawn("lost") + 0.1 * drawn(text)
        return z + (9 * drawn("noise " + text) if self.kind == "short" and len(words) < 3 else 0)


def hit(q, z, own, k):
    cosine = [float(q @ one) / math.sqrt(float(q @ q) * float(one @ one)) for one in z]
    return float(sum(c > cosine[own] + 1e-6 for j, c in enumerate(cosine) if j != own) < k)


def check(build, options):
    said, k = texts(), options.get("k", 10)
    names = [f"t{i:02d}" for i in range(90)]
    collection = Collection.of({"id": names, "anchor": said, "positive": [f"answer {t}" for t in said]})
    z = np.array([sum(drawn(w) for w in text.split()) for text in said])
    for kind in ("short", "long", "neither"):
        encoder = Encoder(kind)
        report = build(**options)({"k": z, "encoder": encoder}, collection, seed=1)
        found = {f.figure.name: f for f in report.findings()}
        hits = np.array([hit(encoder.one(t), z, i, k) for i, t in enumerate(said)])
        size = np.array([len(t.split()) for t in said])
        assert report.figure("found, words: any number").value == pytest.approx(hits.mean())
        gaps = {"short queries": hits[size > 2].mean() - hits[size <= 2].mean(),
                "long queries": hits[size <= 5].mean() - hits[size > 5].mean()}  # fmt: skip
        for name, gap in gaps.items():
            assert found[name].figure.value == pytest.approx(gap)
            assert (found[name].p < 0.01) == (name == f"{kind} queries"), (kind, name, found[name].p)
        rows = {row[0]: row for row in next(b for b in report.blocks if isinstance(b, Table)).rows}
        for c in (2, 5):
            cut = [hit(encoder.one(" ".join(t.split()[:c])), z, i, k) for i, t in enumerate(said) if size[i] > c]
            assert rows[f"at most {c} words"][3] == pytest.approx(np.mean(cut))
    check_hard(build, options, collection, said, z)
    check_signs(build)


def check_hard(build, options, collection, said, z):
    """Long queries that are not found cut short either: a gap, and no matter of length."""
    encoder = Encoder("neither", hard=[t for t in said if len(t.split()) == 9])
    report = build(**options)({"k": z, "encoder": encoder}, collection, seed=1)
    one = next(f for f in report.findings() if f.figure.name == "long queries")
    assert one.figure.low > 0.3 and one.p > 0.05 and "of the cases whole" in one.said


def check_signs(build):
    """Where there are no spaces characters are counted, and what is not read is said."""

    class Reads(Encoder):
        def query(self, given):
            self.cut += sum(len(text) > 8 for text in given)
            return np.array([sum(drawn(s) for s in text[:8]) for text in given])

    rng = np.random.default_rng(2)
    given = ["".join(chr(0x4E00 + s) for s in rng.integers(0, 80, (3, 6, 12)[i % 3])) for i in range(90)]
    held = Collection.of({"anchor": given, "positive": given})
    report = build()({"k": Reads("").query(given), "encoder": Reads("")}, held, seed=0)
    assert report.figure("found, characters: any number").value > 0.9
    warned = [b.text for b in report.blocks if isinstance(b, Text) and b.kind == "warn"]
    assert warned == ["30 of 90 queries are longer than is read: their end is cut off"]
    assert "parallel-windows" in {f.figure.name: f for f in report.findings()}["long queries"].mend
    with pytest.raises(DataError, match="audit a model of pairs"):
        build()({"encoder": Reads("")}, held, seed=0)
