"""What items look like, and how many look so: dense regions of frozen vectors, however large each of them is."""

from __future__ import annotations

import numpy as np

from tellapart.core.features import unit_rows
from tellapart.core.needs import require
from tellapart.core.plan import once

LEAST, DIRECTIONS, MOST = 5, 10, 20_000


def looks_of(x: np.ndarray, *, seed: int) -> np.ndarray:
    """[n] int64 look of each row of [n, d] vectors, numbered from 0; computed once for equal arguments.

    The rows are brought to unit length and to their 10 principal directions; looks are the clusters that HDBSCAN finds
    there with at least 5 members, from at most 20,000 rows that are drawn with the seed. What lies between clusters has
    the look of the nearest row of one. k-means would cut a common look into as many pieces as it is asked for, each as
    rare as a rare look. All rows have one look where no cluster stands out.
    """
    found: np.ndarray = once(_looks, [np.ascontiguousarray(x, dtype=np.float32)], seed)
    return found


def shares(labels: np.ndarray) -> np.ndarray:
    """[n] which share of all rows has the look of each row."""
    share: np.ndarray = np.bincount(labels)[labels] / len(labels)
    return share


def _looks(x: np.ndarray, seed: int) -> np.ndarray:
    n = len(x)
    if n < 2 * LEAST:
        return np.zeros(n, np.int64)
    cluster = require("sklearn.cluster", "looking for looks")
    reduced = require("sklearn.decomposition", "looking for looks")
    some = np.sort(np.random.default_rng(seed).permutation(n)[:MOST])
    unit = unit_rows(x)
    map_ = reduced.PCA(min(DIRECTIONS, len(some) - 1, x.shape[1]), svd_solver="covariance_eigh").fit(unit[some])
    z = map_.transform(unit)
    labels = np.full(n, -1, np.int64)
    labels[some] = cluster.HDBSCAN(min_cluster_size=LEAST, copy=True).fit_predict(z[some])
    known = labels >= 0
    if not known.any():
        return np.zeros(n, np.int64)
    if not known.all():
        neighbours = require("sklearn.neighbors", "looking for looks").NearestNeighbors(n_neighbors=1).fit(z[known])
        labels[~known] = labels[known][neighbours.kneighbors(z[~known], return_distance=False)[:, 0]]
    return labels
