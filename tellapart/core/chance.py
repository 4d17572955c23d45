"""How sure a difference is: an interval, the chance of as much by chance, and what that is worth among many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tellapart.core.redraw import Z

Alternative = Literal["less", "greater", "two-sided"]
FEWEST = 5
_ENOUGH, _DRAWS, _BLOCK, _MOST_PERMUTED = 20, 20_000, 500, 5000
_ALL_SIGNS = 12


@dataclass(frozen=True)
class Difference:
    """The mean inside of a part of the items less the mean outside of it.

    Attributes:
        low, high: the 95% interval.
        p: the chance of as much or more where membership says nothing.
        inside, outside: how many units each mean is over; duplicates are one unit.
        parts: [units] what the difference is the mean of, and `unit` [units] the first item of each, so that two
            models can be compared unit by unit.
    """

    value: float
    low: float
    high: float
    p: float
    inside: int
    outside: int
    unit: np.ndarray
    parts: np.ndarray


def difference(
    values: np.ndarray, inside: np.ndarray, groups: np.ndarray, *, seed: int, alternative: Alternative = "two-sided"
) -> Difference | None:
    """How much the mean of `values` inside differs from that outside; None for fewer than 5 units on either side.

    The units are the groups: duplicates are drawn, and permuted, as one, which has their mean value and is inside where
    most of them are. The interval of two shares (values of 0 and 1) is Newcombe's, of Wilson's for each (Statistics in
    Medicine 1998, method 10), and p is Fisher's exact one. The interval of other values is of their standard errors,
    and p of permutations, which stop as soon as 20 of them reach the difference (Besag and Clifford, Biometrika 1991);
    above 5,000 units it is of the normal distribution.

    Args:
        values: [n]; inside: [n] bool; groups: [n].
        alternative: which differences count as much: below zero, above, or both.
    """
    _, unit, number, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    v = np.bincount(number, values) / size
    belongs = np.bincount(number, inside) / size > 0.5
    here, there = int(belongs.sum()), int((~belongs).sum())
    if min(here, there) < FEWEST:
        return None
    value = float(v[belongs].mean() - v[~belongs].mean())
    if shares := bool(np.isin(v, (0.0, 1.0)).all()):
        a, b = v[belongs].mean(), v[~belongs].mean()
        (la, ha), (lb, hb) = wilson(a, here), wilson(b, there)
        low = value - math.hypot(a - la, hb - b)
        high = value + math.hypot(ha - a, b - lb)
    else:
        wide = Z * math.sqrt(v[belongs].var(ddof=1) / here + v[~belongs].var(ddof=1) / there)
        low, high = value - wide, value + wide
    p = _chance(v, belongs, value, alternative, np.random.default_rng(seed), shares=shares)
    parts = np.where(belongs, v / here, -v / there) * len(v)
    return Difference(value, low, high, p, here, there, unit, parts)


def mean_above(values: np.ndarray, groups: np.ndarray, *, seed: int) -> float:
    """The chance of a mean as high as this where each value is as likely below zero as above (one-sided).

    The values of a group are one unit, which has their mean. The signs of all units are drawn anew, until 20 draws
    reach the mean or there are 20,000; of 12 units or fewer all signs are counted, and above 5,000 it is of the normal
    distribution.

    Args:
        values: [n] differences; groups: [n].
    """
    _, number, size = np.unique(groups, return_inverse=True, return_counts=True)
    v = np.bincount(number, values) / size
    n, value = len(v), float(v.mean())
    if n > _MOST_PERMUTED:
        spread = math.sqrt(float((v**2).mean()) / n)
        return 0.5 * math.erfc(value / spread / math.sqrt(2)) if spread else 1.0
    if n <= _ALL_SIGNS:
        signs = (np.arange(2**n)[:, None] >> np.arange(n) & 1) * 2.0 - 1
        return float((signs @ v / n >= value - 1e-12).mean())
    rng = np.random.default_rng(seed)

    def drawn() -> np.ndarray:
        signs = 2.0 * rng.integers(0, 2, (_BLOCK, n), dtype=np.int8) - 1
        return np.asarray(signs @ v / n >= value - 1e-12)

    return _until_enough(drawn)


def at_most(count: int, n: int, share: float) -> float:
    """The chance of at most `count` of `n` where each is so with the chance `share` (binomial)."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    x = np.arange(min(count, n) + 1)
    return min(1.0, float(np.exp(_choose(logs, n, x) + x * math.log(share) + (n - x) * math.log(1 - share)).sum()))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95% interval of a share of `count` (Wilson, JASA 1927)."""
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    wide = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return max(0.0, centre - wide), min(1.0, centre + wide)


def holm(p: Sequence[float]) -> np.ndarray:
    """[n] each p corrected for how many there are (Holm, Scandinavian Journal of Statistics 1979).

    Calling what comes out below 0.05 found is wrong about any of them in at most 5% of all cases.
    """
    given = np.asarray(p, float)
    order = np.argsort(given, kind="stable")
    raised = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    out = np.empty(len(given))
    out[order] = np.minimum(raised, 1.0)
    return out


def _chance(
    v: np.ndarray, belongs: np.ndarray, value: float, how: Alternative, rng: np.random.Generator, *, shares: bool
) -> float:
    """The chance of a difference at least as extreme where membership is dealt at random."""
    k, n = int(belongs.sum()), len(v)
    if shares:
        ones = int(v.sum())
        logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
        x = np.arange(max(0, k + ones - n), min(k, ones) + 1)
        chance = np.exp(_choose(logs, ones, x) + _choose(logs, n - ones, k - x) - _choose(logs, n, k))
        return min(1.0, float(chance[_extreme(x / k - (ones - x) / (n - k), value, how)].sum()))
    if n > _MOST_PERMUTED:
        spread = math.sqrt(v[belongs].var(ddof=1) / k + v[~belongs].var(ddof=1) / (n - k)) or 1e-300
        at = value / spread
        upper = 0.5 * math.erfc(at / math.sqrt(2))
        return {"less": 1 - upper, "greater": upper, "two-sided": min(1.0, 2 * min(upper, 1 - upper))}[how]
    return _permuted(v, belongs, value, how, rng)


def _choose(logs: np.ndarray, n: Any, k: Any) -> Any:
    return logs[n] - logs[k] - logs[n - k]


def _extreme(found: np.ndarray, value: float, how: Alternative) -> np.ndarray:
    slack = 1e-9
    if how == "two-sided":
        return np.abs(found) >= abs(value) - slack
    return found <= value + slack if how == "less" else found >= value - slack


def _permuted(v: np.ndarray, belongs: np.ndarray, value: float, how: Alternative, rng: np.random.Generator) -> float:
    """The share of relabellings of the units whose difference is at least as extreme; the data count as one."""
    few = belongs if belongs.sum() * 2 <= len(v) else ~belongs
    k, n, total, sign = int(few.sum()), len(v), float(v.sum()), 1.0 if few is belongs else -1.0

    def drawn() -> np.ndarray:
        # The few smallest of n random numbers are a draw of so many without replacement.
        chosen = np.argpartition(rng.random((_BLOCK, n), dtype=np.float32), k - 1, axis=1)[:, :k]
        some = v[chosen].sum(axis=1)
        return _extreme(sign * (some / k - (total - some) / (n - k)), value, how)

    return _until_enough(drawn)


def _until_enough(drawn: Callable[[], np.ndarray]) -> float:
    """p of a test by drawing: blocks of draws, each True where it is as extreme, until enough are or there are many."""
    reached = count = 0
    while count < _DRAWS:
        hit = drawn()
        if reached + hit.sum() >= _ENOUGH:
            last = int(np.flatnonzero(hit)[_ENOUGH - reached - 1])
            return _ENOUGH / (count + last + 1)
        reached, count = reached + int(hit.sum()), count + len(hit)
    return (reached + 1) / (count + 1)
