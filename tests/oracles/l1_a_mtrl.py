"""Relevance by plain steps on dense matrices, with a Lasso by coordinate descent; budgets by hand."""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.tasks import budgets

CASES: list[dict] = [
    {},
    {"dim": 2, "penalty": 0.3},
    {"penalty": 0.02, "ridge": 1.0, "buckets": 7},
    {"dim": 3, "sample": 3, "buckets": 50},
]

POOL = {
    "sea": ["The sail, torn by wind, fell.", "a boat and an anchor", "wind fills the sail", "an old boat sank"],
    "food": ["bread and butter", "salt & flour 3.5 kg", "bake the bread", "butter melts in the pan"],
    "law": ["the court heard the case", "a judge and a court", "the old law fell", "the case was heard"],
    "mix": ["the wind in the court", "bread for the boat", "a pan of salt", "the judge ate butter"],
}
TARGET = ["Sail the boat!", "the anchor of a boat", "wind and wind"]
PROBE = ["the sail", "butter, butter", "a court", "nothing known", "!"]


def check(build, options):
    texts = TARGET + [text for each in POOL.values() for text in each]
    marks = [True] * 3 + [name for name, each in POOL.items() for _ in each]
    part = build(**options).fit(texts, marks)
    relevance, score = _plainly(options)
    assert part.relevance_ == pytest.approx(relevance, abs=1e-4) and max(relevance.values()) > 0
    assert np.allclose(part.score(PROBE), score, atol=1e-3 * np.abs(score).max())

    sources = [name for name, each in POOL.items() for _ in range(25)]
    rows = part.select(["-"] * 100, 10, rng=np.random.default_rng(0), sources=sources)
    total = sum(relevance.values())
    for name, nu in relevance.items():
        kept = sum(sources[row] == name for row in rows)
        assert abs(kept - 10 * nu / total) < 1.01, "budgets are not in proportion to relevance"
    with pytest.raises(DataError, match="was not there"):
        part.select(["-"] * 2, 1, rng=np.random.default_rng(0), sources=["sea", "moon"])

    both = part.relevance(np.array([[1.0, 0.2], [0.0, -1.0]]), np.array([0.5, 2.0]))
    assert both == pytest.approx(_lasso(np.array([[1.0, 0.2], [0.0, -1.0]]), np.array([0.5, 2.0]), part.penalty, False))
    assert both[1] < 0, "a head against the target's is relevant, too"
    _check_budgets()


def _check_budgets():
    big = np.array([100] * 3)
    assert budgets(np.array([3.0, 0.0, 1.0]), 8, big).tolist() == [6, 0, 2]
    assert budgets(np.array([1.0, 1.0, 1.0]), 4, big).tolist() == [2, 1, 1]
    assert budgets(np.array([3.0, 0.0, 1.0]), 8, np.array([4, 100, 100])).tolist() == [4, 0, 4]
    assert budgets(np.array([3.0, 0.0, 0.0]), 8, np.array([4, 100, 1])).tolist() == [4, 3, 1]
    assert budgets(np.array([0.0, 1.0, 0.0]), 6, np.array([2, 2, 2])).tolist() == [2, 2, 2]


def _features(text, buckets):
    """Square roots of the shares of hashed words."""
    row = [0.0] * buckets
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    for word in words:
        row[_bucket(word, buckets)] += 1 / len(words)
    return [math.sqrt(value) for value in row]


def _bucket(word, buckets):
    code = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    mixed = (code ^ code >> 31) * 0xBF58476D1CE4E5B9 % 2**64
    return (mixed ^ mixed >> 31) % buckets


def _plainly(options):
    dim, penalty = options.get("dim", 20), options.get("penalty", 0.1)
    ridge, buckets, most = options.get("ridge", 0.3), options.get("buckets", 1000), options.get("sample", 200)
    looked_at = {}
    for name, texts in sorted(POOL.items()):
        hashed = sorted(texts, key=lambda text: hashlib.blake2b(text.encode(), digest_size=8).digest())
        looked_at[name] = np.array([_features(text, buckets) for text in hashed[:most]])
    everything = np.concatenate(list(looked_at.values()))
    mean = everything.mean(axis=0)
    covariance = (everything - mean).T @ (everything - mean) / len(everything)
    covariance += ridge * np.trace(covariance @ covariance) / np.trace(covariance) * np.eye(buckets)

    maps = []  # the least squares map to the labels 1 of a source and -1 of the others, of equal weight
    for name in looked_at:
        others = np.mean([x.mean(axis=0) for other, x in looked_at.items() if other != name], axis=0)
        maps.append(np.linalg.solve(covariance, (looked_at[name].mean(axis=0) - others) / 2))
    maps = np.stack(maps, axis=1)
    # The best maps of lower rank in the metric of the covariance, each weighed by its number of texts.
    half = np.linalg.cholesky(covariance)
    counts = [len(x) for x in looked_at.values()]
    leading = np.linalg.svd(half.T @ maps * np.sqrt(counts), full_matrices=False)[0][:, : min(dim, len(counts))]
    basis = np.linalg.solve(half.T, leading)
    heads = leading.T @ half.T @ maps

    middle = np.mean([x.mean(axis=0) for x in looked_at.values()], axis=0)
    wanted = np.mean([_features(text, buckets) for text in TARGET], axis=0)
    target = leading.T @ np.linalg.solve(half, (wanted - middle) / 2)
    nu = _lasso(heads, target, penalty, True)
    probe = np.array([_features(text, buckets) for text in PROBE]) - mean
    return dict(zip(looked_at, nu, strict=True)), probe @ basis @ heads @ nu


def _lasso(heads, target, penalty, towards):
    """Coordinate descent on 1/2 |W nu - w|^2 + lambda |nu|_1."""
    along = heads.T @ target
    top = penalty * max(along if towards else abs(along))
    nu = np.zeros(heads.shape[1])
    before = nu + 1
    while abs(nu - before).max() > 1e-9:
        before = nu.copy()
        for t in range(len(nu)):
            rest = target - heads @ nu + heads[:, t] * nu[t]
            pull = float(heads[:, t] @ rest)
            size = max(pull - top, 0) if towards else math.copysign(max(abs(pull) - top, 0), pull)
            nu[t] = size / float(heads[:, t] @ heads[:, t])
    return nu
