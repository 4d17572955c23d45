"""What vectors score in a task of a benchmark, by kind, with an interval."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tellapart.core import redraw
from tellapart.core.errors import DataError
from tellapart.core.features import labels, unit_rows
from tellapart.core.leaderboard import spearman
from tellapart.core.linear import ridge_map
from tellapart.core.plan import kmeans
from tellapart.core.report import Figure
from tellapart.engine import intervals
from tellapart.engine.evaluate import detection, retrieval

KINDS = {
    "retrieval": "nDCG@10", "classification": "accuracy", "clustering": "V-measure",
    "pair-classification": "average precision", "sts": "Spearman",
}  # fmt: skip
SHOTS, TIMES, RIDGE, DRAWS = 16, 10, 0.1, 200
FEWEST = 20


def searched(q: np.ndarray, k: np.ndarray, relevant: Any, units: np.ndarray, *, seed: int = 0, **own: Any) -> Figure:
    """nDCG@10 of a search, over queries, of which equal `units` are drawn together; `own` as in `retrieval`."""
    a, b = (unit_rows(z).astype(np.float32) for z in (q, k))
    values = retrieval(a, b, relevant, ks=(10,), **own)["nDCG@10"]
    known = np.isfinite(values)
    low, high = intervals.bootstrap(values[known], clusters=units[known], seed=seed)
    return Figure("nDCG@10", float(values[known].mean()), *intervals.known(low, high), count=int(known.sum()))


def classified(x: np.ndarray, y: Sequence[Any], groups: np.ndarray, *, seed: int = 0) -> Figure:
    """Accuracy of a ridge regression onto classes, learnt from 16 items a class, over ten draws of these items.

    An item is asked about whenever neither it nor a duplicate of it was drawn. MTEB learns a logistic regression.
    """
    rng, z = np.random.default_rng(seed), unit_rows(x)
    _, codes = labels(list(y), len(z), least=2)
    right, asked = np.zeros(len(z)), np.zeros(len(z))
    for _ in range(TIMES):
        order = rng.permutation(len(z))
        drawn = np.concatenate([order[codes[order] == c][:SHOTS] for c in range(codes.max() + 1)])
        rest = np.flatnonzero(~np.isin(groups, groups[drawn]))
        if not len(rest):
            raise DataError(f"classes of at most {SHOTS} items leave nothing to ask about")
        said = ridge_map(z[drawn], np.eye(codes.max() + 1)[codes[drawn]], RIDGE)(z[rest]).argmax(axis=1)
        right[rest] += said == codes[rest]
        asked[rest] += 1
    share = right[asked > 0] / asked[asked > 0]
    low, high = intervals.bootstrap(share, clusters=groups[asked > 0], seed=seed)
    return Figure("accuracy", float(share.mean()), *intervals.known(low, high), count=len(share))


def clustered(x: np.ndarray, y: Sequence[Any], *, seed: int = 0) -> Figure:
    """V-measure (Rosenberg and Hirschberg, EMNLP 2007) of k-means with as many clusters as classes, over five draws."""
    classes, codes = labels(list(y), len(x), least=2)
    z = np.ascontiguousarray(unit_rows(x), np.float32)
    with warnings.catch_warnings():
        # Vectors that are all one make fewer clusters than were asked for, which their figure says.
        warnings.simplefilter("ignore")
        found = [v_measure(codes, kmeans(z, len(classes), seed + i)) for i in range(TIMES // 2)]
    note = "no interval: the items are clustered together, and are not independent"
    return Figure("V-measure", float(np.mean(found)), count=len(x), note=note)


def v_measure(truth: np.ndarray, cluster: np.ndarray) -> float:
    """The harmonic mean of how pure clusters are (homogeneity) and how whole classes are (completeness)."""
    _, a = np.unique(truth, return_inverse=True)
    _, b = np.unique(cluster, return_inverse=True)
    p = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(p, (a, b), 1 / len(a))

    def entropy(shares: np.ndarray) -> float:
        held = shares[shares > 0]
        return float(-(held * np.log(held)).sum())

    of_truth, of_cluster, both = entropy(p.sum(axis=1)), entropy(p.sum(axis=0)), entropy(p.ravel())
    pure = 1.0 if of_truth == 0 else (of_truth + of_cluster - both) / of_truth
    whole = 1.0 if of_cluster == 0 else (of_truth + of_cluster - both) / of_cluster
    return 2 * pure * whole / (pure + whole) if pure + whole > 0 else 0.0


def told_apart(
    a: np.ndarray, b: np.ndarray, same: np.ndarray, groups: np.ndarray, *, seed: int = 0, draws: int = DRAWS
) -> Figure:
    """Average precision of the cosine of two sides, for whether they belong together."""
    s, same = _cosines(a, b), np.asarray(same, bool)
    if same.all() or not same.any():
        raise DataError("pairs of one kind alone: some must belong together and others not")
    return _redrawn("average precision", groups, seed, lambda at: _precision(s[at], same[at]), 0.0, draws)


def agreed(a: np.ndarray, b: np.ndarray, scores: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> Figure:
    """Spearman's correlation of the cosine of two sides with a score that people gave."""
    s = _cosines(a, b)
    return _redrawn("Spearman", groups, seed, lambda at: spearman(s[at], scores[at]), -1.0, DRAWS)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("nd,nd->n", unit_rows(np.asarray(a, float)), unit_rows(np.asarray(b, float)))
    return np.round(found, 6)


def _precision(s: np.ndarray, same: np.ndarray) -> float:
    return detection(s, same)["AUPR"] if same.any() and not same.all() else float("nan")


def _redrawn(
    name: str, groups: np.ndarray, seed: int, measure: Callable[[np.ndarray], float], least: float, draws: int
) -> Figure:
    def statistic(times: np.ndarray) -> float:
        return measure(np.repeat(np.arange(len(times)), times.astype(int)))

    ends = redraw.interval(statistic, groups, seed=seed, draws=draws, ends=(least, 1.0))
    return Figure(name, measure(np.arange(len(groups))), *ends, count=len(groups))
