from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.balanced import balanced_order
from tellapart.core.errors import PartError
from tellapart.core.nearest import nearest
from tellapart.core.parts import part
from tellapart.core.plan import Plan, SampleKeys, cut, generator, looked_at, once, present

_LEAF, _ROWS = 8192, 1024


@part(
    paper="Deuser et al., Sample4Geo: Hard Negative Sampling For Cross-View Geo-Localisation, ICCV 2023",
    place="pairs",
    system="sample4geo",
    traits=("topics", "places", "vectors"),
)
def sample4geo(
    keys: SampleKeys,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    neighbours: Annotated[int, Field(ge=2, le=1000)] = 128,
    select: Annotated[int, Field(ge=2, le=1000)] = 64,
    start: Annotated[int, Field(ge=0, le=10_000)] = 4,
    refresh: Annotated[int, Field(ge=1, le=10_000)] = 4,
) -> Plan:
    """Batches filled with nearest neighbours: by place while the towers know nothing, then by the towers themselves.

    A random row opens a batch and brings `select / 2` of its nearest neighbours and as many drawn from the rest of its
    `neighbours` nearest, each unless it was used in this epoch already; then another random row that is left does,
    until the batch is full, and so on. Every row comes once an epoch; the last batches are made of what is left over.

    - Before `start`, near is near on the globe, where the collection has the columns `latitude` and `longitude` in
      degrees (the order of the great-circle distance); elsewhere by the cosine of the queries' frozen features.
    - From then on near is what a query scores highest among the documents, by the towers as they are every `refresh`
      epochs, with rows of its own duplicate group or target left out, which are no negatives.

    Args:
        neighbours: how many neighbours a row has to offer.
        select: how many of them it may bring into a batch.
        start: epochs, from the first, that go by place or frozen features.
        refresh: epochs that one search serves.

    Up to 8,192 rows the neighbours are exact. More are cut by balanced 2-means of what is searched into parts of at
    most that many, and neighbours found within a part: time grows with n log n, and a neighbour across a border is
    missed, which costs a hard negative and nothing else. The numbers are those of the published code.

    When to use: pairs of two views of one thing, many of them alike, and batches too small to hold the confusable
    ones. The paper trains with a symmetric InfoNCE of learnt temperature and label smoothing.

    Relations: `ngame` takes whole clusters instead of neighbours, at less cost; `tas` never looks at the towers.

    Raises:
        PartError: more to be selected than there are neighbours; neither places nor frozen features nor vectors.
    """
    if select > neighbours:
        raise PartError(f"sample4geo: select={select} of neighbours={neighbours} cannot be; give a smaller select")
    if looked_at(epoch, start=start, refresh=refresh) is not None:
        query, document = present(keys, "sample4geo")
    else:
        query = document = _before(keys)
    near = once(_neighbours, [query, document, keys.group, keys.target], neighbours, seed)
    return cut(_filled(near, batch_size, select // 2, generator(seed, epoch)), batch_size)


def _before(keys: SampleKeys) -> np.ndarray:
    for name in ("place_vectors", "topic_vectors"):
        if name in keys.extra:
            return keys.extra[name]
    raise PartError("sample4geo begins with places or frozen features of the queries, and has neither: give start=0")


def _neighbours(
    query: np.ndarray, document: np.ndarray, group: np.ndarray, target: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """[n, count] int32 rows of the documents nearest to each query, best first, -1 where there are fewer."""
    q, k = _unit(query), _unit(document)
    found = np.full((len(q), count), -1, np.int32)
    size = -(-len(q) // -(-len(q) // _LEAF))
    order = balanced_order(_unit(q + k), size, seed=seed)
    for start in range(0, len(q), size):
        inside = order[start : start + size]
        among = k[inside]
        for rows in np.array_split(inside, -(-len(inside) // _ROWS)):
            best = inside[nearest(q[rows], [among], count + 1)[1]]
            same = (group[best] == group[rows, None]) | (best == rows[:, None])
            same |= (target[best] == target[rows, None]) & (target[rows, None] >= 0)
            place = np.argsort(same, axis=1, kind="stable")[:, :count]
            kept = np.where(np.take_along_axis(same, place, 1), -1, np.take_along_axis(best, place, 1))
            found[rows, : kept.shape[1]] = kept
    return found


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)


def _filled(near: np.ndarray, batch_size: int, half: int, rng: np.random.Generator) -> np.ndarray:
    """[n] row numbers, every row once, in the order in which batches fill up."""
    order, free, used = np.empty(len(near), np.int64), np.ones(len(near), bool), 0
    for row in rng.permutation(len(near)):
        if not free[row]:
            continue
        order[used], free[row] = row, False
        used += 1
        room = -used % batch_size
        if not room:
            continue
        offered = near[row]
        offered = offered[offered >= 0]
        offered = np.concatenate([offered[:half], rng.permutation(offered[half:])[:half]])
        taken = offered[free[offered]][:room]
        order[used : used + len(taken)], free[taken] = taken, False
        used += len(taken)
    return order
