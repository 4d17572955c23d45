"""What a sampler plans with, and what it gives: batches of row numbers for the global batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart.core.errors import PartError
from tellapart.core.needs import require


@dataclass(frozen=True)
class SampleKeys:
    """What a sampler may know of the n training rows. All arrays have n rows.

    Attributes:
        item, group, target: as in `Keys` (int64).
        query, document: [n, d] float32 unit vectors of the two sides by the towers as they were at the beginning of
            the epoch `looked_at`. A sampler of the trait `vectors` has them, with its own options `start` and
            `refresh`; before `start`, and for other samplers, they are None.
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


def looked_at(epoch: int, *, start: int, refresh: int) -> int | None:
    """The epoch at whose beginning the vectors are made that the plan of an epoch sees; None before `start`."""
    return None if epoch < start else start + (epoch - start) // refresh * refresh


def present(keys: SampleKeys, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of both sides, for the sampler of that name; `PartError` where there are none to be used."""
    if keys.query is None or keys.document is None:
        raise PartError(
            f"{name} looks at the vectors of the towers, which training hands over: use it as sample={name}"
        )
    if not (np.isfinite(keys.query).all() and np.isfinite(keys.document).all()):
        raise PartError(f"{name}: the towers give vectors that are not finite; try a lower learning_rate")
    return keys.query, keys.document


ROWS_A_CLUSTER = 256
_KEPT = 4
_kept: dict[tuple[Any, ...], Any] = {}


def once(function: Callable[..., Any], arrays: Sequence[np.ndarray], *arguments: Any) -> Any:
    """`function(*arrays, *arguments)`, computed once for equal bytes and arguments; the last few results are kept."""
    digest = hashlib.sha256()
    for x in arrays:
        digest.update(f"{x.shape} {x.dtype}".encode())
        digest.update(np.ascontiguousarray(x).data)
    key = (function.__module__, function.__qualname__, digest.digest(), arguments)
    if key not in _kept:
        found = function(*arrays, *arguments)
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = found
    return _kept[key]


def topics(keys: SampleKeys, clusters: int, seed: int) -> np.ndarray:
    """[n] int64 cluster of each row by k-means over `extra["topic_vectors"]`; computed once for equal arguments."""
    if "topic_vectors" not in keys.extra:
        raise PartError("clustering needs `topic_vectors`, the frozen vectors of the queries, with the rows")
    x = np.ascontiguousarray(keys.extra["topic_vectors"], dtype=np.float32)
    return kmeans(x, min(clusters, len(x)), seed)


def kmeans(x: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """[n] int64 cluster of each row of [n, d] float32; computed once for equal arguments.

    Centres are learnt from at most 256 rows a cluster, drawn with the seed: beyond that, more rows cost rounds and time
    and move them little.
    """
    found: np.ndarray = once(_kmeans, [x], clusters, seed)
    return found


def _kmeans(x: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    cluster = require("sklearn.cluster", "clustering")
    model = cluster.KMeans(clusters, n_init=1, random_state=seed)
    if len(x) <= ROWS_A_CLUSTER * clusters:
        return np.asarray(model.fit_predict(x), np.int64)
    some = np.random.default_rng(seed).choice(len(x), ROWS_A_CLUSTER * clusters, replace=False)
    return np.asarray(model.fit(x[np.sort(some)]).predict(x), np.int64)


def cut(order: np.ndarray, batch_size: int) -> Plan:
    """Consecutive whole batches; a remainder that fills no batch is left for another epoch.

    A collection smaller than one batch is one batch.
    """
    if len(order) <= batch_size:
        return [order]
    whole = len(order) // batch_size * batch_size
    return list(order[:whole].reshape(-1, batch_size))
