"""Scores, biases and precisions of planted pairs of tags, counted item by item."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"pairs": 2, "together": 0.3, "chosen": 0.5}]
N = 600
TAGS = ["car", "road", "cat", "sofa", "hat", "sun"]


def world(seed, company):
    """A car stands on a road, and a cat on a sofa, as often as said; roads and sofas are easy to see, hats and suns
    go together as often, and neither is to be seen."""
    rng = np.random.default_rng(seed)
    has = np.zeros((N, 6), bool)
    for b in (0, 2, 4):
        has[:, b] = rng.random(N) < 0.35
        has[:, b + 1] = np.where(has[:, b], rng.random(N) < company, rng.random(N) < (0.1 if company > 0.5 else 0.5))
    x = rng.normal(size=(N, 8))
    x[:, :4] += has[:, :4] * np.array([0.5, 4.0, 0.5, 4.0])
    return x, has


def check(build, options):
    x, has = world(0, 0.85)
    said = ["|".join(t for t, h in zip(TAGS, row, strict=True) if h) for row in has]
    collection = Collection.of({"text": ["a"] * N, "tags": said})
    report = build(**options)({"document": x}, collection, seed=2)
    rng = np.random.default_rng(2)
    score = scores(x, has, rng)
    first = rng.random(N) < options.get("chosen", 0.4)
    found = {f.figure.name: f for f in report.findings()}
    assert {"car without road", "cat without sofa"} <= set(found)
    assert len(found) == 2 or options.get("pairs", 10) > 2
    table = next(b for b in report.blocks if type(b).__name__ == "Table")
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    for b, c in ((0, 1), (2, 3)):
        finding = found[f"{TAGS[b]} without {TAGS[c]}"]
        with_c = [score[i, b] for i in range(N) if not first[i] and has[i, b] and has[i, c]]
        alone = [score[i, b] for i in range(N) if not first[i] and has[i, b] and not has[i, c]]
        assert finding.figure.value == pytest.approx(sum(with_c) / len(with_c) - sum(alone) / len(alone))
        assert finding.p < 1e-3
        assert finding.examples[0].scores[0] == pytest.approx(min(alone))
        bias, together, exclusive = rows[TAGS[b], TAGS[c]]
        assert bias == pytest.approx(sum(with_c) / len(with_c) / (sum(alone) / len(alone)))
        for figure, kind in ((together, True), (exclusive, False)):
            among = [i for i in range(N) if not first[i] and (not has[i, b] or has[i, c] == kind)]
            order = sorted(among, key=lambda i: -score[i, b])
            hits, total = 0, 0.0
            for rank, i in enumerate(order, 1):
                hits += has[i, b]
                total += has[i, b] * hits / rank
            assert figure.value == pytest.approx(total / hits)
    hidden = [f for name, f in found.items() if name in ("hat without sun", "sun without hat")]
    assert all(f.p > 0.01 for f in hidden), "company that nobody sees tells nothing"
    x, has = world(1, 0.5)
    said = [[t for t, h in zip(TAGS, row, strict=True) if h] for row in has]
    clean = build(**options)({"document": x}, Collection.of({"attributes": said}), seed=2)
    assert all(f.p > 0.005 for f in clean.findings())
    words = Collection.of({"text": ["A " + " and the ".join(row) for row in said]})
    names = {f.figure.name for f in build(**options)({"document": x}, words, seed=2).findings()}
    assert names == {f.figure.name for f in clean.findings()}
    with pytest.raises(DataError, match="no tags"):
        build(**options)({"document": x}, Collection.of({"label": ["a"] * N}), seed=0)


def scores(x, has, rng):
    """A ridge regression of every tag, fold by fold."""
    fold, unit = folds_of(np.arange(N), 5, rng), x / np.linalg.norm(x, axis=1, keepdims=True)
    out = np.empty(has.shape)
    order = sorted(range(6), key=lambda b: (-has[:, b].sum(), TAGS[b]))
    for f in range(5):
        rest = fold != f
        middle = unit[rest].mean(axis=0)
        z = unit[rest] - middle
        weight = z.T @ z + np.trace(z.T @ z) / 8 * np.eye(8)
        for b in order:
            y = has[rest, b].astype(float)
            w = np.linalg.solve(weight, z.T @ (y - y.mean()))
            out[fold == f, b] = y.mean() + (unit[fold == f] - middle) @ w
    return out.clip(0.001, 1)
