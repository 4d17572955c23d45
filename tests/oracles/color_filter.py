"""The fall of the loss by plain dicts and loops, where no two n-grams share a counter; and where all do."""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np

CASES: list[dict] = [
    {},
    {"ngrams": 1, "passes": 2.5},
    {"ngrams": 3, "smoothing": 0.7, "buckets": 100_003},
    {"smoothing": 4.0, "passes": 40.0},
]

TARGET = ["The sail, torn by wind, fell.", "A sail is a cloth; it's old!", "Wind fills the sail", "  "]
POOL = ["bread and butter", "The wind blew over the bread...", "naïve café", "salt & flour 3.5 kg", "the old ship", ""]
PROBE = ["the sail of the ship", "butter 3.5", "", "WIND wind Wind", "sail", "nothing of it was read"]


def check(build, options):
    part = build(**options).fit(TARGET + POOL, [True] * 4 + [False] * 6)
    expected = _losses(options)
    assert np.allclose(part.losses(PROBE), expected, rtol=1e-9)
    assert np.allclose(part.score(PROBE), [prior - cond for prior, cond in expected], atol=1e-6)
    _one_counter(build, options)


def _words(text):
    return ["<start>", *re.findall(r"\w+|[^\w\s]+", text.lower()), "<end>"]


def _half(text):
    return hashlib.blake2b(text.encode(), digest_size=8).digest()[-1] % 2


def _counted(texts, top):
    """{n-gram: how often}, and how many words there are beside start marks."""
    counts, total = {}, 0
    for text in texts:
        words = _words(text)
        if len(words) == 2:
            continue
        total += len(words) - 1
        for n in range(1, top + 1):
            for end in range(n, len(words) + 1):
                gram = tuple(words[end - n : end])
                counts[gram] = counts.get(gram, 0) + 1
    return counts, total


def _losses(options):
    top, add = options.get("ngrams", 2), options.get("smoothing", 50.0)
    halves = {0: [], 1: []}
    for text in POOL:
        halves[_half(text)].append(text)
    assert len(halves[0]) > 1 and len(halves[1]) > 1
    halves = {side: _counted(texts, top) for side, texts in halves.items()}
    target = _counted(TARGET, top)

    def probability(pool, words, at, n, passes):
        """Of the word at a place after the n - 1 before it."""
        if n == 0:
            return 1 / options.get("buckets", 1_000_000)
        gram = tuple(words[at - n + 1 : at + 1])
        shorter = probability(pool, words, at, n - 1, passes)
        ours, theirs = pool[0].get(gram, 0), target[0].get(gram, 0)
        if n == 1:
            here, there = pool[1], target[1]
        else:
            here, there = pool[0].get(gram[:-1], 0), target[0].get(gram[:-1], 0)
        if passes == 0:
            there = 0
        if here + there == 0:
            return shorter
        frequency = (ours + passes * theirs) / (here + passes * there)
        return ((here + there) * frequency + add * shorter) / (here + there + add)

    found = []
    for text in PROBE:
        words, pool = _words(text), halves[1 - _half(text)]
        row = []
        for passes in (0, options.get("passes", 10.0)):
            losses = [-math.log(probability(pool, words, i, min(top, i + 1), passes)) for i in range(1, len(words))]
            row.append(sum(losses) / len(losses))
        found.append(row)
    return found


def _one_counter(build, options):
    """With two counters for all n-grams, probabilities stay probabilities."""
    part = build(**options | {"buckets": 2}).fit(TARGET + POOL, [True] * 4 + [False] * 6)
    losses = part.losses(PROBE)
    assert (losses >= 0).all() and np.isfinite(losses).all()
