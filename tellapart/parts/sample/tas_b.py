from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.core.plan import Plan, SampleKeys, generator, topics


@part(
    paper="Hofstätter et al., Efficiently Teaching an Effective Dense Retriever with Balanced Topic Aware Sampling, "
    "SIGIR 2021",
    place="pairs",
    system="tas-b",
    traits=("topics", "teacher-margin", "repeats"),
    needs=("sklearn",),
)
def tas_b(
    keys: SampleKeys,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    clusters: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
    bins: Annotated[int, Field(ge=1, le=1000)] = 10,
) -> Plan:
    """Batches of one topic in which easy and hard pairs are equally frequent by a teacher's margin.

    Queries are clustered once as in `tas`. Every batch draws a topic, in proportion to its size; the range of the
    teacher's margin s(q, d+) - s(q, d-) of the topic's rows is cut into `bins` bins of equal width, and each place of
    the batch draws a bin that still holds rows, all with equal probability, and a row of it without replacement. That
    damps the many pairs that are too easy, and the few whose negative is better than the positive. A topic smaller than
    a batch is filled up with rows of all topics, by the same rule.

    Rows may come again within an epoch, and some wait for another. The margin of each row is `teacher_margin`; the
    paper trains on such batches with `objective="margin-mse"`.

    Args:
        clusters: number of topics; 0 takes one for every `batch_size` queries.
        bins: bins of the margin; 1 is topic aware sampling with replacement.
    """
    if "teacher_margin" not in keys.extra:
        raise ValueError("tas-b needs `teacher_margin`, one number a row; give a guide, or use tas")
    margin = keys.extra["teacher_margin"]
    topic = topics(keys, clusters or max(2, len(keys) // batch_size), seed)
    members = [np.flatnonzero(topic == t) for t in range(topic.max() + 1)]
    shares = np.array([len(m) for m in members]) / len(keys)
    rng = generator(seed, epoch)
    plan = []
    for _ in range(max(1, len(keys) // batch_size)):
        rows = members[rng.choice(len(members), p=shares)]
        chosen = _balanced(rows, margin, min(batch_size, len(rows)), bins, rng)
        missing = min(batch_size, len(keys)) - len(chosen)
        if missing:
            rest = np.setdiff1d(np.arange(len(keys)), chosen)
            chosen = np.concatenate([chosen, _balanced(rest, margin, missing, bins, rng)])
        plan.append(chosen)
    return plan


def _balanced(rows: np.ndarray, margin: np.ndarray, count: int, bins: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the rows without replacement, each from a bin drawn evenly among those that still hold rows."""
    edges = np.linspace(margin[rows].min(), margin[rows].max(), bins + 1)[1:-1]
    bin_of = np.digitize(margin[rows], edges)
    waiting = [list(rng.permutation(rows[bin_of == b])) for b in range(bins)]
    waiting = [held for held in waiting if held]
    chosen = []
    for _ in range(count):
        at = int(rng.integers(len(waiting)))
        chosen.append(waiting[at].pop())
        if not waiting[at]:
            del waiting[at]
    return np.array(chosen, dtype=np.int64)
