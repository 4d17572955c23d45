"""Oracle: with topics that k-means cannot mistake, every batch is one topic or the seam between two."""

from __future__ import annotations

import numpy as np

from tellapart.core.plan import SampleKeys

CASES: list[dict] = [{}, {"clusters": 5}]


def check(build, options: dict) -> None:
    """Five far apart topics of unequal sizes; the default number of topics splits none across two of them."""
    sizes = [9, 21, 30, 17, 23]
    topic = np.repeat(np.arange(5), sizes)
    vectors = (100 * np.eye(5)[topic] + np.random.default_rng(0).normal(size=(100, 5))).astype(np.float32)
    ids = np.arange(100)
    keys = SampleKeys(ids, ids, ids, extra={"topic_vectors": vectors})
    plan = build(**options)(keys, seed=0, epoch=3, batch_size=10)
    assert len(plan) == 10
    pure = 0
    for rows in plan:
        topics = []
        for row in rows:
            if topic[row] not in topics:
                topics.append(topic[row])
        pure += len(topics) == 1
    seams = len(sizes) - 1 if options else 10
    assert pure >= 10 - seams
    flat = sorted(int(row) for rows in plan for row in rows)
    assert flat == list(range(100))
    if options:
        assert pure >= 6
