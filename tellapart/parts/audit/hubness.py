"""Hubness: documents that stand among the first results of far too many queries, and what that costs the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.gains import found, gain
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Text
from tellapart.parts.audit._two_sides import FEWEST, Asked, asked

_SHOWN, _GRID = 12, (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@part(
    paper="Radovanović et al., Hubs in Space: Popular Nearest Neighbors in High-Dimensional Data, JMLR 2010",
    place="audit",
    traits=("q", "k"),
)
def hubness(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=50, le=20_000)] = 2000,
) -> Report:
    """Whether some documents are found for everything, and how much more would be found if they were not.

    Formula: N(j) = among how many queries' first `k` results document j stands; its mean is k.
        skewness = mean (N - mean N)^3 / sd(N)^3;   never found = the share of documents with N = 0;
        share of the hubs = the share of all places that the hundredth part of documents with the largest N takes.
    The finding is what hubs cost: the share of queries with a right document among the first `k` by the inverted
    softmax, s(i, j) / T - log mean_b exp(s(b, j) / T) over a bank of queries b that are not asked, less the share by s
    alone. T is chosen of six from 0.01 to 3, on the validation part, or on a half of what is not asked. p is that of a
    sign test in which one query in a hundred is first forgiven: any space of many dimensions has hubs, and only those
    that cost something are a fault.

    Use it on a space whose results repeat. The rank parts `inverted-softmax`, `dbnorm` and `dbnorm-dynamic` mend it
    without training. Pairs that are asked are the test part of the split, or a half where there is none.

    Args:
        vectors: `q` and `k` [n, d], unit vectors of both sides in one space.
        items: above so many pairs, so many are drawn.

    Raises `DataError` for rows that do not match, values that are not finite, or fewer than five pairs on either part.
    """
    held = asked(vectors, collection, items=items, seed=seed)
    s, n = held.q @ held.k.T, len(held.q)
    k = min(k, n - 1)
    t = _temperature(held, k)
    report = Report("Hubness", facts={"seed": seed, "pairs": n, "k": k, "temperature": t})
    if n < FEWEST:
        report.add(Text(f"cannot tell: {n} pairs to ask, and at least {FEWEST} are needed", "verdict"))
    first = np.argpartition(-s, k - 1, axis=1)[:, :k]
    times = np.bincount(first.ravel(), minlength=n).astype(float)
    ends = redraw.interval(lambda w: _skewness(times, w), held.group, seed=seed, draws=300, ends=(-np.inf, np.inf))
    report.add(_figure("skewness of N", _skewness(times, np.ones(n)), ends, n))
    never = (times == 0).astype(float)
    report.add(
        _figure("never found", float(never.mean()), redraw.interval(redraw.mean(never), held.group, seed=seed), n)
    )
    few = max(1, n // 100)
    order = np.argsort(-times, kind="stable")
    note = "of the queries as they are: no interval"
    report.add(Figure("share of the hubs", float(times[order[:few]].sum() / times.sum()), count=n, note=note))
    bank = held.old_q[~held.tried]
    before, after = (found(scores, held.related, k) for scores in (s, s / t - _drawn(bank, held.k, t)))
    cost = gain(before, after, held.group, seed=seed)
    note = f"R@{k} by inverted softmax (T = {t:g}), less R@{k}" if n >= FEWEST else "few"
    figure = Figure("lost to hubs", cost.value, cost.low, cost.high, cost.count, note=note)
    said = f"documents that are found for everything, held back: {cost.value:+.1%} of queries find theirs among {k}"
    ids = held.ids(collection)
    shown = [
        Example([ids[j]], f"among the first {k} of {times[j]:.0f} queries, where {k} are expected", [float(times[j])])
        for j in order[:_SHOWN]
    ]
    mend = f"tellapart run {{data}} --set 'rank=inverted-softmax(temperature={t:g})'"
    return report.add(Finding(figure, said, cost.p, ids=ids, values=cost.values.tolist(), examples=shown, mend=mend))


def _skewness(times: np.ndarray, weight: np.ndarray) -> float:
    total = weight.sum()
    away = times - weight @ times / total
    spread = weight @ away**2 / total
    return float((weight @ away**3 / total) / spread**1.5) if spread > 0 else 0.0


def _drawn(bank: np.ndarray, k: np.ndarray, t: float) -> np.ndarray:
    """[n] log mean exp of the bank's scaled cosines with each document."""
    s = bank @ k.T / t
    top = s.max(axis=0)
    return np.asarray(top + np.log(np.exp(s - top).mean(axis=0)))


def _temperature(held: Asked, k: int) -> float:
    """Which T finds most for the pairs that options are chosen on."""
    q, d, bank = held.old_q[held.tried], held.old_k[held.tried], held.old_q[~held.tried]
    own = np.eye(len(q), dtype=bool)
    good = [found(q @ d.T / t - _drawn(bank, d, t), own, max(1, min(k, len(q) - 1))).mean() for t in _GRID]
    return _GRID[int(np.argmax(good))]


def _figure(name: str, value: float, ends: tuple[float | None, float | None], count: int) -> Figure:
    if ends[0] is None or ends[1] is None:
        return Figure(name, value, count=count, note="too few pairs for an interval")
    return Figure(name, value, min(ends[0], value), max(ends[1], value), count)
