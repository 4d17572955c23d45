"""Importance weights by loops and plain dicts, and the authors' package."""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np

CASES: list[dict] = [{}, {"buckets": 50}, {"ngrams": 1, "smoothing": 0.01}, {"ngrams": 3, "buckets": 997}]

TARGET = ["The sail, torn by wind, fell.", "A sail is a cloth; it's old!", "Wind fills the sail"]
POOL = ["bread and butter", "The wind blew over the bread...", "naïve café", "salt & flour 3.5 kg", "the old ship"]
PROBE = ["the sail of the ship", "butter 3.5", "", "WIND wind Wind"]


def check(build, options):
    buckets, top, add = options.get("buckets", 10_000), options.get("ngrams", 2), options.get("smoothing", 1e-8)

    def grams(text):
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        found = []
        for n in range(1, top + 1):
            for i in range(len(words) - n + 1):
                found.append(" ".join(words[i : i + n]))
        return [int(hashlib.sha256(g.encode()).hexdigest(), 16) % buckets for g in found]

    def shares(texts):
        counts = {}
        for text in texts:
            for b in grams(text):
                counts[b] = counts.get(b, 0) + 1
        total = sum(counts.values())
        return lambda b: counts.get(b, 0) / total + add

    target, raw = shares(TARGET), shares(POOL)
    part = build(**options).fit(TARGET + POOL, [True] * 3 + [False] * 5)
    expected = [sum(math.log(target(b)) - math.log(raw(b)) for b in grams(text)) for text in PROBE]
    assert np.allclose(part.score(PROBE), expected, rtol=1e-4, atol=1e-4)

    chosen = shares(POOL[:2])
    gained = sum(target(b) * (math.log(chosen(b)) - math.log(raw(b))) for b in range(buckets))
    assert abs(part.kl_reduction(POOL[:2]) - gained) < 1e-6
    usual = shares(POOL[3:])
    gained = sum(target(b) * (math.log(chosen(b)) - math.log(usual(b))) for b in range(buckets))
    assert abs(part.kl_reduction(POOL[:2], POOL[3:]) - gained) < 1e-6

    noise = np.random.default_rng(5).gumbel(size=len(POOL))
    weights = [sum(math.log(target(b)) - math.log(raw(b)) for b in grams(text)) for text in POOL]
    best = sorted(range(len(POOL)), key=lambda i: -(weights[i] + noise[i]))[:2]
    assert part.select(POOL, 2, rng=np.random.default_rng(5)).tolist() == sorted(best)


def check_library(build):
    """The weights of the authors' package `data-selection`, whose tokens and buckets are the same."""
    from data_selection.hashed_ngram_dsir import get_ngram_counts

    part = build().fit(TARGET + POOL, [True] * 3 + [False] * 5)
    raw, target = (sum(get_ngram_counts(t) for t in texts) for texts in (POOL, TARGET))
    ratio = np.log(target / target.sum() + 1e-8) - np.log(raw / raw.sum() + 1e-8)
    theirs = [float(ratio @ get_ngram_counts(t)) for t in PROBE]
    assert np.allclose(part.score(PROBE), theirs, rtol=1e-5, atol=1e-5)
