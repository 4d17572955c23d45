from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.core.plan import Plan, SampleKeys, cut, generator, topics


@part(
    paper="Hofstätter et al., Efficiently Teaching an Effective Dense Retriever with Balanced Topic Aware Sampling, "
    "SIGIR 2021 (topic aware sampling)",
    place="pairs",
    system="tas-b",
    traits=("topics",),
    needs=("sklearn",),
)
def tas(
    keys: SampleKeys,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    clusters: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
) -> Plan:
    """Batches of queries about one topic, so that the other documents of the batch are hard negatives.

    Queries are clustered once, by k-means over the frozen features that the trainer supplies as `topic_vectors`. Each
    epoch, the clusters stand in random order, each with its queries shuffled, and the row is cut into batches: a batch
    holds one cluster, or the end of one and the beginning of the next. (The paper draws a cluster for every batch,
    with replacement; cutting gives every query its turn each epoch.) Batches come in random order.

    Args:
        clusters: number of topics; 0 takes one for every `batch_size` queries, at least two batches' worth in all.

    When to use: pairs whose queries fall into topics, and small batches. Duplicates of a group do end up in one batch;
    the relation ignores them. Relations: `tas-b` also balances the margins of a teacher; `star` mines instead.
    """
    topic = topics(keys, clusters or max(2, len(keys) // batch_size), seed)
    number = topic.max() + 1
    rng = generator(seed, epoch)
    shuffled = rng.permutation(len(keys))
    order = shuffled[np.argsort(rng.permutation(number)[topic[shuffled]], kind="stable")]
    plan = cut(order, batch_size)
    return [plan[i] for i in rng.permutation(len(plan))]
