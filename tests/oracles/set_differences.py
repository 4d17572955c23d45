"""A phrase planted into the captions of one set, its AUROC counted pair by pair, and nothing found where none is."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Table

ASKED = {"column": "side", "a": "left", "b": "right"}
CASES: list[dict] = [
    {},
    {**ASKED, "captions": "said", "rank": "vectors"},
    {**ASKED, "captions": "said", "tested": 3, "longest": 1, "least": 8},
]
N = 400
OTHERS = ["round", "tall", "early", "late", "plain", "fresh", "calm", "busy", "north", "south"]


def encode(texts):
    """The sum of a fixed draw for each word."""
    return np.stack(
        [sum(np.random.default_rng(zlib.crc32(w.encode())).normal(size=40) for w in t.split()) for t in texts]
    )


def world(seed, planted):
    """A muddy road on 0.7 of one set and 0.1 of the other, which captions say in 4 of 5 cases."""
    rng = np.random.default_rng(seed)
    left = rng.random(N) < 0.5
    muddy = rng.random(N) < (np.where(left, 0.7, 0.1) if planted else 0.3)
    words = [rng.choice(OTHERS, 4, replace=False).tolist() for _ in range(N)]
    captions = [
        " ".join([*own[:2], *(["muddy", "road"] if m and rng.random() < 0.8 else []), *own[2:]])
        for own, m in zip(words, muddy, strict=True)
    ]
    x = encode([" ".join([*own, *(["muddy road"] if m else [])]) for own, m in zip(words, muddy, strict=True)])
    columns = {"id": [f"i{i:03d}" for i in range(N)], "said": captions, "text": captions}
    columns |= {"side": ["left" if v else "right" for v in left], "label": ["one"] * N}
    return x.astype(np.float32), left, Collection.of(columns)


def counted(v, inside):
    """The share of pairs in which the one inside is higher, ties half."""
    wins = [(a > b) + 0.5 * (a == b) for a in v[inside] for b in v[~inside]]
    return sum(wins) / len(wins)


def vectors_of(x, left):
    """The first half of each vector is the item's; what is wrong are the items on the left, for the default."""
    return {"document": x, "image": x, "text-encoder": encode}


def check(build, options):
    x, left, collection = world(0, planted=True)
    if options:
        report = build(**options)(vectors_of(x, left), collection, seed=2)
        sure = 1e-4
    else:
        # Labels that the vectors tell on the right side alone.
        truth = np.random.default_rng(0).integers(0, 2, N)
        x = np.hstack([x, np.where(left, 0, 40 * (2 * truth - 1))[:, None]]).astype(np.float32)
        collection = collection.with_column("label", [f"k{t}" for t in truth])
        vectors = {"document": x, "text-encoder": lambda t: np.hstack([encode(t), np.zeros((len(t), 1))]), "image": x}
        report = build()(vectors, collection, seed=2)
        sure = 0.01
    finding = report.findings()[0]
    assert finding.p < sure and ("muddy" in finding.said or "road" in finding.said)
    table = next(b for b in report.blocks if isinstance(b, Table))
    assert "muddy" in table.rows[0][0] or "road" in table.rows[0][0]
    if options:
        check_figures(report, table, options, x, left, collection)
        x, left, clean = world(1, planted=False)
        assert build(**options)(vectors_of(x, left), clean, seed=2).findings()[0].p > 0.01
        with pytest.raises(DataError, match="no item has 'middle'"):
            build(**{**options, "b": "middle"})(vectors_of(x, left), clean, seed=0)
        with pytest.raises(DataError, match="no captions"):
            build(**{**options, "captions": "told"})(vectors_of(x, left), clean, seed=0)
        with pytest.raises(DataError, match="encodes no texts"):
            build(**{**options, "rank": "vectors"})({"document": x}, clean, seed=0)


def check_figures(report, table, options, x, left, collection):
    """AUROC over all items and over the second half, shares, and what the finding is the mean of."""
    texts = collection.values("said")
    second = np.random.default_rng(2)
    second.permutation(N)
    second = second.random(N) >= 0.5
    assert len(table.rows) <= options.get("tested", 5)
    for phrase, share, other, both, figure, _ in table.rows:
        has = np.array([f" {phrase} " in f" {t} " for t in texts])
        if not has.any():
            continue  # what a word is a kind of stands in no caption
        assert share == pytest.approx(has[left].mean()) and other == pytest.approx(has[~left].mean())
        v = has.astype(float)
        if options.get("rank") == "vectors":
            y = encode([phrase])[0]
            v = x @ y / np.linalg.norm(x, axis=1) / np.linalg.norm(y)
        assert both == pytest.approx(counted(v, left), abs=1e-3)
        assert figure.value == pytest.approx(counted(v[second], left[second]), abs=1e-3)
        assert figure.low < figure.value < figure.high
    finding = report.findings()[0]
    assert np.mean(finding.values) == pytest.approx(finding.figure.value) and len(finding.ids) == second.sum()
    assert ("muddy road" in [row[0] for row in table.rows]) == (options.get("longest") != 1)
