from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.balanced import balanced_order
from tellapart.core.parts import part
from tellapart.core.plan import Plan, SampleKeys, cut, generator, looked_at, once, present


@part(
    paper="Dahiya et al., NGAME: Negative Mining-aware Mini-batching for Extreme Classification, WSDM 2023",
    place="pairs",
    system="ngame",
    traits=("vectors",),
)
def ngame(
    keys: SampleKeys,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    cluster_size: Annotated[int, Field(ge=2, le=65_536)] = 16,
    start: Annotated[int, Field(ge=0, le=10_000)] = 1,
    refresh: Annotated[int, Field(ge=1, le=10_000)] = 2,
) -> Plan:
    """Batches that are unions of small clusters of the queries as the towers place them now: hard negatives for free.

    Every `refresh` epochs the queries are encoded afresh and cut by balanced 2-means, again and again, into clusters of
    C. Each epoch the clusters stand in random order, and the row is cut into batches of `batch_size`, so a batch is
    about `batch_size / C` whole clusters: the other documents of a row's cluster are the hard negatives, and those of
    the other clusters the random ones, which keep training bounded. No index is searched and nothing else is encoded.

    Hardness rises: before `start` batches are random, then C is 2, and doubles with every refresh up to `cluster_size`.
    (The paper doubles on a list of epochs; here that list is that of the refreshes. Its published settings are 10
    random epochs of 300 and a refresh every 5.) Clustering takes O(n d log(n / C)), planning O(n).

    Args:
        cluster_size: rows of the largest clusters; as many as the batch makes batches of near neighbours alone.
        start: epochs, from the first, that are planned at random.
        refresh: epochs that one clustering serves.

    When to use: many queries and batches too small to hold hard negatives by chance. Queries of one cluster are alike,
    and where several are really the same, mark them as a duplicate group or drop them with `relate`: groups are
    ignored, but a clustering finds unmarked false negatives as surely as hard ones. The paper also scores the batch
    with a hinge on its hardest negatives (`objective="triplet-hardest"`) and adds classifiers in a second stage, which
    are not part of this.

    Relations: `tas` clusters frozen features once; `sample4geo` fills batches with nearest neighbours instead of
    clusters; `star` mines for each query apart from its batch.
    """
    rng, made = generator(seed, epoch), looked_at(epoch, start=start, refresh=refresh)
    if made is None:
        return cut(rng.permutation(len(keys)), batch_size)
    size = min(cluster_size, 2 ** min(1 + (made - start) // refresh, 20))
    order: np.ndarray = once(_clustered, [present(keys, "ngame")[0]], size, seed)
    clusters = -(-len(keys) // size)
    key = rng.permutation(clusters)[np.arange(len(keys)) // size]
    within = rng.permutation(len(keys))
    return cut(order[np.lexsort((within, key))], batch_size)


def _clustered(queries: np.ndarray, size: int, seed: int) -> np.ndarray:
    return balanced_order(queries, size, seed=seed)
