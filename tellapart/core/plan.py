"""What a sampler plans with, and what it gives: batches of row numbers for the global batch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tellapart.core.errors import PartError
from tellapart.core.needs import require


@dataclass(frozen=True)
class SampleKeys:
    """What a sampler may know of the n training rows. All arrays have n rows.

    Attributes:
        item, group, target: as in `Keys` (int64).
        query, document: float32 vectors of the two sides by the model as it was when the plan was asked for; may be
            None where a sampler does not carry the trait `vectors`.
        extra: further columns by name (a teacher's margin, a topic).
    """

    item: np.ndarray
    group: np.ndarray
    target: np.ndarray
    query: np.ndarray | None = None
    document: np.ndarray | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item)


Plan = list[np.ndarray]
Sampler = Callable[..., Plan]


def generator(seed: int, epoch: int, stream: int = 0) -> np.random.Generator:
    """The one source of randomness of a plan: equal for equal (seed, epoch, stream)."""
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, stream]))


@dataclass(frozen=True)
class _Vectors:
    """An array that is equal to another with the same bytes."""

    digest: bytes
    x: np.ndarray = field(compare=False, repr=False)


def topics(keys: SampleKeys, clusters: int, seed: int) -> np.ndarray:
    """[n] int64 cluster of each row by k-means over `extra["topic_vectors"]`; computed once for equal arguments."""
    if "topic_vectors" not in keys.extra:
        raise PartError("clustering needs `topic_vectors`, the frozen vectors of the queries, with the rows")
    x = np.ascontiguousarray(keys.extra["topic_vectors"], dtype=np.float32)
    return _topics(_Vectors(hashlib.sha256(x.tobytes()).digest(), x), min(clusters, len(x)), seed)


@functools.lru_cache(maxsize=4)
def _topics(vectors: _Vectors, clusters: int, seed: int) -> np.ndarray:
    cluster = require("sklearn.cluster", "clustering the queries")
    found: np.ndarray = cluster.KMeans(clusters, n_init=1, random_state=seed).fit_predict(vectors.x)
    return found.astype(np.int64)


def cut(order: np.ndarray, batch_size: int) -> Plan:
    """Consecutive whole batches; a remainder that fills no batch is left for another epoch.

    A collection smaller than one batch is one batch.
    """
    if len(order) <= batch_size:
        return [order]
    whole = len(order) // batch_size * batch_size
    return list(order[:whole].reshape(-1, batch_size))
