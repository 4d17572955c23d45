"""Oracle: how often each margin bin is drawn, against the rule simulated in loops with another generator."""

from __future__ import annotations

import random

import numpy as np

from tellapart.core.plan import SampleKeys

CASES: list[dict] = [{}, {"clusters": 2, "bins": 4}]
ROUNDS = 300


def check(build, options: dict) -> None:
    """Two topics; margins so skewed that an unbalanced draw would hardly ever see the upper bins."""
    clusters, bins = options.get("clusters", 2), options.get("bins", 10)
    n, batch_size = 200, 20
    topic = np.arange(n) % 2
    vectors = (100 * np.eye(2)[topic]).astype(np.float32)
    margin = (np.random.default_rng(0).random(n) ** 6).astype(np.float32)
    ids = np.arange(n)
    keys = SampleKeys(ids, ids, ids, extra={"topic_vectors": vectors, "teacher_margin": margin})
    part = build(**{**options, "clusters": clusters})
    drawn = np.zeros(n)
    batches = 0
    for epoch in range(ROUNDS // 10):
        for rows in part(keys, seed=0, epoch=epoch, batch_size=batch_size):
            assert len({int(topic[row]) for row in rows}) == 1
            drawn[rows] += 1
            batches += 1
    expected = _simulated(topic, margin, batch_size, bins)
    for group in np.array_split(np.argsort(margin), 10):
        assert abs(drawn[group].sum() / batches - expected[group].sum()) < 0.12 * batch_size**0.5 + 0.1


def _simulated(topic: np.ndarray, margin: np.ndarray, batch_size: int, bins: int) -> np.ndarray:
    """Mean number of times each row is in a batch, by plain loops over 3,000 batches."""
    generator = random.Random(1)
    count = np.zeros(len(topic))
    for _ in range(3000):
        chosen_topic = generator.randrange(2)
        rows = [i for i in range(len(topic)) if topic[i] == chosen_topic]
        low, high = min(margin[i] for i in rows), max(margin[i] for i in rows)
        held: list[list[int]] = [[] for _ in range(bins)]
        for i in rows:
            held[min(int((margin[i] - low) / (high - low) * bins), bins - 1)].append(i)
        for _ in range(batch_size):
            nonempty = [b for b in held if b]
            chosen_bin = generator.choice(nonempty)
            row = generator.choice(chosen_bin)
            chosen_bin.remove(row)
            count[row] += 1
    return count / 3000
