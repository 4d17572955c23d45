"""Bootstrap intervals over queries and seeds, paired differences, several variants at once, and verdicts in words.

How an interval is made. The units (queries, clusters of queries, seeds) are drawn again with replacement; the spread of
the means so found is scaled to the unbiased standard error, and the percentiles are taken where Student's t puts them,
for the number of units there are (Hesterberg, "What Teachers Should Know About the Bootstrap", The American
Statistician 2015). Without the two corrections an interval over five seeds is far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from tellapart.core.errors import DataError

DRAWS = 2000
LEVEL = 0.95
SHARE = (0.0, 1.0)
HELPS, HURTS, NO_DIFFERENCE = "helps", "hurts", "no difference shown"
NUMBERS_A_CHUNK = 4_000_000


@dataclass(frozen=True)
class Difference:
    """A variant against its base.

    Attributes:
        difference: mean of variant minus base.
        low, high: interval at `level`, which Holm's correction widens where there are several variants.
        p: two-sided, uncorrected.
        verdict: "helps", "hurts" or "no difference shown".
    """

    difference: float
    low: float
    high: float
    level: float
    p: float
    verdict: str


def bootstrap(
    values: np.ndarray | Sequence[float],
    *,
    clusters: np.ndarray | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """Interval of the mean.

    Args:
        values: [queries], or [seeds, queries] when the same queries were asked of every seed; then both are drawn
            again, seeds as the outer level. Queries that are NaN (in any seed) do not count.
        clusters: [queries] what must stay together, such as the concept; then clusters are drawn, not queries.
        draws: how many times.
        level: share of cases in which the interval shall hold the truth.
        within: where alone the mean can lie, such as `SHARE`; the interval ends there.

    Returns:
        (low, high); both NaN where there are fewer than two units to draw.

    Raises:
        DataError: shapes that do not fit, or values that are infinite.
    """
    low, high = _Spread.of(_matrix(values), clusters, seed, draws).interval(level)
    return max(low, within[0]), min(high, within[1])


def paired(
    a: np.ndarray | Sequence[float],
    b: np.ndarray | Sequence[float],
    *,
    clusters: np.ndarray | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> tuple[float, float, float]:
    """Difference `b - a` over the same queries (and seeds), and its interval: (difference, low, high).

    Arguments and errors as in `bootstrap`; `a` is the base and `b` the variant.
    """
    difference = _difference(a, b)
    spread = _Spread.of(difference, clusters, seed, draws)
    return spread.mean, *spread.interval(level)


def known(low: float, high: float) -> tuple[float | None, float | None]:
    """The ends of an interval; None both where none can be given (`bootstrap`: NaN)."""
    return (None, None) if np.isnan(low) else (float(low), float(high))


def verdict(low: float, high: float, *, higher_is_better: bool = True) -> str:
    """What the interval of a difference says, in words."""
    if low > 0:
        return HELPS if higher_is_better else HURTS
    if high < 0:
        return HURTS if higher_is_better else HELPS
    return NO_DIFFERENCE


def holm(
    base: np.ndarray,
    variants: Mapping[str, np.ndarray],
    *,
    clusters: np.ndarray | None = None,
    higher_is_better: bool = True,
    seed: int = 0,
    draws: int = 20_000,
    level: float = LEVEL,
) -> dict[str, Difference]:
    """Several variants against one base, so that the chance of any false verdict among them stays at `1 - level`.

    Holm's step-down procedure (Scandinavian Journal of Statistics 1979): the clearest of m variants is judged at
    1 - (1 - level) / m, the next at 1 - (1 - level) / (m - 1), and so on; the first that does not stand ends it, and
    the intervals from there on keep its level. A variant with fewer units is compared with the first ones of the base.
    """
    spreads = {n: _Spread.of(_difference(base[: len(v)], v), clusters, seed, draws) for n, v in variants.items()}
    found: dict[str, Difference] = {}
    standing, judged = True, level
    for place, (name, spread) in enumerate(sorted(spreads.items(), key=lambda item: item[1].p)):
        judged = 1 - (1 - level) / (len(spreads) - place) if standing else judged
        low, high = spread.interval(judged)
        words = verdict(low, high, higher_is_better=higher_is_better)
        standing = standing and words != NO_DIFFERENCE
        found[name] = Difference(spread.mean, low, high, judged, spread.p, words if standing else NO_DIFFERENCE)
    return {name: found[name] for name in variants}


@dataclass(frozen=True)
class _Spread:
    """How a mean varies: deviations of redrawn means, scaled to the standard error, and its degrees of freedom."""

    mean: float
    error: float
    freedom: float
    deviations: np.ndarray

    @staticmethod
    def of(values: np.ndarray, clusters: np.ndarray | None, seed: int, draws: int) -> _Spread:
        sums, sizes = _units(values, clusters)
        seeds, units = sums.shape
        mean = float(sums.sum() / (sizes.sum() * seeds)) if units else math.nan
        if seeds * units < 2 or (seeds == 1 and units < 2):
            return _Spread(mean, math.nan, math.nan, np.zeros(0))
        error, freedom = _standard_error(sums, sizes, mean)
        deviations = _redraw(sums, sizes, np.random.default_rng(seed), draws) - mean
        spread = float(deviations.std())
        if spread > 0:
            deviations = deviations * (error / spread)
        return _Spread(mean, error, freedom, np.sort(deviations))

    def interval(self, level: float) -> tuple[float, float]:
        if not len(self.deviations):
            return math.nan, math.nan
        tail = NormalDist().cdf(-_t_quantile(0.5 + level / 2, self.freedom))
        low, high = np.quantile(self.deviations, [tail, 1 - tail])
        return self.mean + float(low), self.mean + float(high)

    @property
    def p(self) -> float:
        if not len(self.deviations) or (self.mean == 0 and self.error == 0):
            return 1.0
        if self.error == 0:
            return 0.0
        return 2 * (1 - _t_probability(abs(self.mean) / self.error, self.freedom))


def _matrix(values: np.ndarray | Sequence[float]) -> np.ndarray:
    x = np.asarray(values, np.float64)
    if x.ndim not in (1, 2):
        raise DataError(f"values must be [queries] or [seeds, queries], not of shape {x.shape}")
    if np.isinf(x).any():
        raise DataError("a value is infinite: no mean can be given")
    return np.atleast_2d(x)


def _difference(a: np.ndarray | Sequence[float], b: np.ndarray | Sequence[float]) -> np.ndarray:
    x, y = _matrix(a), _matrix(b)
    if x.shape != y.shape:
        raise DataError(f"a paired difference needs the same queries and seeds: {x.shape} and {y.shape} do not match")
    return y - x


def _units(values: np.ndarray, clusters: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums [seeds, units] and sizes [units] of what is drawn, without missing queries."""
    if clusters is not None and len(clusters) != values.shape[1]:
        raise DataError(f"there are {len(clusters)} cluster names for {values.shape[1]} queries")
    seen = ~np.isnan(values).any(0)
    values = values[:, seen]
    if clusters is None:
        return values, np.ones(values.shape[1])
    _, number = np.unique(np.asarray(clusters)[seen], return_inverse=True)
    count = int(number.max()) + 1 if len(number) else 0
    sums = np.stack([np.bincount(number, row, count) for row in values])
    return sums, np.bincount(number, minlength=count).astype(np.float64)


def _standard_error(sums: np.ndarray, sizes: np.ndarray, mean: float) -> tuple[float, float]:
    """Standard error of the mean and its degrees of freedom (Satterthwaite, 1946).

    With s seeds of the same u units, the spread of seed means and the spread of unit means both hold the noise of the
    single entries, which is therefore taken off once.
    """
    seeds, units = sums.shape
    weight = sizes / sizes.mean()
    off = sums / sizes.mean() - weight * mean
    of_units = float((off.mean(0) ** 2).sum() / (units * (units - 1))) if units > 1 else 0.0
    if seeds == 1:
        return math.sqrt(of_units), units - 1
    seed_means = off.mean(1)
    of_seeds = float(((seed_means - seed_means.mean()) ** 2).sum() / (seeds * (seeds - 1)))
    if units == 1:
        return math.sqrt(of_seeds), seeds - 1
    left = off - off.mean(0) - weight * seed_means[:, None]
    noise = float((left**2).sum() / ((seeds - 1) * (units - 1) * seeds * units))
    total = max(of_seeds + of_units - noise, of_seeds, of_units)
    if total == 0:
        return 0.0, seeds - 1
    freedom = total**2 / (of_seeds**2 / (seeds - 1) + of_units**2 / (units - 1))
    return math.sqrt(total), max(freedom, min(seeds, units) - 1)


def _redraw(sums: np.ndarray, sizes: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """[draws] means of samples drawn with replacement: seeds outer, units within."""
    seeds, units = sums.shape
    if seeds == 1:
        kinds, count = np.unique(np.stack([sums[0], sizes], 1), axis=0, return_counts=True)
        if len(kinds) <= units // 4:
            drawn = rng.multinomial(units, count / units, size=draws) @ kinds
            return drawn[:, 0] / drawn[:, 1]
    out = np.empty(draws)
    step = max(1, NUMBERS_A_CHUNK // max(units, 1))
    for start in range(0, draws, step):
        n = min(step, draws - start)
        outer = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=n) if seeds > 1 else np.ones((n, 1))
        pick = rng.integers(0, units, (n, units)) if units > 1 else np.zeros((n, 1), np.int64)
        if seeds == 1:
            out[start : start + n] = sums[0][pick].sum(1) / sizes[pick].sum(1)
            continue
        mixed = (outer / seeds) @ sums
        out[start : start + n] = np.take_along_axis(mixed, pick, 1).sum(1) / sizes[pick].sum(1)
    return out


@lru_cache(maxsize=256)
def _t_table(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Points x >= 0 and Student's P(T <= x) there, by the trapezium rule on a grid that reaches far into the tail."""
    x = np.sinh(np.linspace(0, 14, 20_001))
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(log_constant - (freedom + 1) / 2 * np.log1p(x * x / freedom))
    steps = np.diff(x) * (density[1:] + density[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(steps)])
    return x, 0.5 + 0.5 * below / below[-1]


def _t_probability(x: float, freedom: float) -> float:
    if freedom > 1e5:
        return NormalDist().cdf(x)
    points, below = _t_table(freedom)
    return float(np.interp(x, points, below))


def _t_quantile(share: float, freedom: float) -> float:
    """Inverse of the above for shares of a half or more."""
    if freedom > 1e5:
        return NormalDist().inv_cdf(share)
    points, below = _t_table(freedom)
    return float(np.interp(share, below, points))
