"""The modality gap: how far the two sides of a space lie apart, and what that costs the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.features import unit_rows
from tellapart.core.gains import found, gain
from tellapart.core.linear import ridge_map
from tellapart.core.parts import part
from tellapart.core.report import Figure, Finding, Report, Text
from tellapart.parts.audit._two_sides import FEWEST, asked

_FOLDS, _RIDGE, _PARTNERS = 5, 0.1, 20


@part(
    paper="Liang et al., Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive Representation "
    "Learning, NeurIPS 2022; alignment and uniformity: Wang and Isola, ICML 2020",
    place="audit",
    traits=("q", "k"),
    aliases=("alignment-uniformity",),
)
def modality_gap(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=50, le=20_000)] = 2000,
) -> Report:
    """Whether queries and documents lie in two places of their space, and what would be found if they did not.

    Formula, for unit vectors q_i and k_i of the pairs that are asked:
        centroid distance = | mean q - mean k |;   alignment = mean |q_i - k_i|^2;
        uniformity = log mean exp(-2 |u - v|^2) over pairs of queries, of documents, and of one each of other items;
        separability = how many of both sides a ridge classifier puts on the right side, fitted on other pairs.
    The finding is what the gap costs: the share of queries with a right document among the first `k` after the mean of
    each side is taken off (means of pairs that are not asked, and unit length again) less the share before. Its p is
    that of a sign test in which one query in a hundred is first forgiven: a gap that costs nothing is no fault,
    however surely there is one.

    Use it where words search pictures. `cua` and `cuaxu` are the losses that narrow a gap; `hubness` asks what crowds
    one side. Pairs that are asked are the test part of the split, or a half where there is none.

    Args:
        vectors: `q` and `k` [n, d], unit vectors of both sides in one space.
        items: above so many pairs, so many are drawn.

    Raises `DataError` for rows that do not match, values that are not finite, or fewer than five pairs on either part.
    """
    held = asked(vectors, collection, items=items, seed=seed)
    q, d, n = held.q, held.k, len(held.q)
    report = Report("Modality gap", facts={"seed": seed, "pairs": n, "k": k})
    if n < FEWEST:
        report.add(Text(f"cannot tell: {n} pairs to ask, and at least {FEWEST} are needed", "verdict"))

    def apart(times: np.ndarray) -> float:
        return float(np.linalg.norm(times @ (q - d)) / times.sum())

    report.add(_figure("centroid distance", apart, held.group, seed, (0.0, 2.0), draws=300))
    near = ((q - d) ** 2).sum(axis=1)
    report.add(_figure("alignment", redraw.mean(near), held.group, seed, (0.0, 4.0), draws=300))
    rng = np.random.default_rng(seed)
    for name, a, b in (("queries", q, q), ("documents", d, d), ("across", q, d)):
        kernel = np.zeros(n)
        for step in rng.integers(1, n, _PARTNERS):
            kernel += np.exp(-2 * ((a - np.roll(b, step, axis=0)) ** 2).sum(axis=1)) / _PARTNERS
        report.add(_figure(f"uniformity, {name}", _log_mean(kernel), held.group, seed, (-8.0, 0.0), draws=300))
    told = _separated(q, d, held.group, rng)
    report.add(_figure("separability", redraw.mean(told), held.group, seed, (0.0, 1.0), draws=300))
    flat = [unit_rows(x - old.mean(axis=0)) for x, old in ((q, held.old_q), (d, held.old_k))]
    before, after = (found(a @ b.T, held.related, k) for a, b in ((q, d), flat))
    cost = gain(before, after, held.group, seed=seed)
    note = f"R@{k} with the means taken off, less R@{k} as it is"
    figure = Figure("lost to the gap", cost.value, cost.low, cost.high, cost.count, note=note if n >= FEWEST else "few")
    said = (
        f"the mean of each side taken off, so that there is no gap: {cost.value:+.1%} of queries find theirs among {k}"
    )
    mend = "tellapart run {data} --set objective=cuaxu"
    return report.add(Finding(figure, said, cost.p, ids=held.ids(collection), values=cost.values.tolist(), mend=mend))


def _log_mean(kernel: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda times: float(np.log((times @ kernel) / times.sum()))


def _separated(q: np.ndarray, d: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[n] which share of a pair's two vectors is put on the right side."""
    fold, right = folds_of(group, _FOLDS, rng), np.full(len(q), 0.5)
    for f in range(_FOLDS):
        mine, rest = fold == f, fold != f
        if mine.any() and rest.any():
            side = np.repeat([1.0, -1.0], int(rest.sum()))[:, None]
            says = ridge_map(np.concatenate([q[rest], d[rest]]), side, _RIDGE)
            right[mine] = ((says(q[mine])[:, 0] > 0) * 1.0 + (says(d[mine])[:, 0] < 0)) / 2
    return right


def _figure(
    name: str, statistic: Callable[[np.ndarray], float], groups: np.ndarray, seed: int,
    ends: tuple[float, float], *, draws: int,
) -> Figure:  # fmt: skip
    value = statistic(np.ones(len(groups)))
    low, high = redraw.interval(statistic, groups, seed=seed, draws=draws, ends=ends)
    if low is None or high is None:
        return Figure(name, value, count=len(groups), note="too few pairs for an interval")
    # A distance drawn again is longer than it is: near 0 the whole interval would lie above the figure.
    return Figure(name, value, min(low, value), max(high, value), len(groups))
