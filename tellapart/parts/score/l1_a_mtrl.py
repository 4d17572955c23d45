"""Which sources of a pool the target's head is made of: a sparse regression of task heads, and budgets by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.tasks import budgets, shared
from tellapart.parts.score import _hashed, _samples


@part(
    paper="Wang et al., Improved Active Multi-Task Representation Learning via Lasso, ICML 2023",
    place="curate",
    system="l1-a-mtrl",
    traits=("target", "texts", "select", "stream", "sources"),
    needs=("sklearn",),
)
class L1AMtrl:
    """How much of a budget each source of a pool should get for a target, by L1 relevance; few sources get any.

    Formula:
        1. Explore: at most `sample` texts of every source, as square roots of shares of words in `buckets` hashed
           counters. The task of a source is to tell its texts from those of the others, that of the target to tell its
           texts from the sample. A representation B of rank `dim` and heads w_t of all sources are fitted together by
           least squares (`tellapart.core.tasks.shared`), then the target's head w in it.
        2. Relevance: nu = argmin 1/2 ||W nu - w||^2 + lambda ||nu||_1, with the heads as columns of W and lambda
           `penalty` times max_t |w_t . w|, above which all of nu is 0.
        3. Exploit: the budget is spent in proportion to |nu_t|, and drawn at random within a source.
        score(x) = (B'(x - mean)) . W nu, the target's head as far as sources make it up. Higher = more like the target.

    Of the paper: equal exploration, shared linear representation, Lasso, budgets by |nu| and not nu^2. Different: pools
    of texts come without labels, and the heads of tasks that have each other as negatives add up to 0, so that a
    source from which the target points AWAY would get a budget: `fit` looks for nu >= 0. `relevance` alone, for heads
    of labelled tasks, has both signs. Least squares use one covariance for all tasks; one round, not several; no
    least budget for every source; all items cost the same; lambda is a share, where the paper has a rate with unknown
    constants. What relevant sources cannot give is taken evenly from the others.

    Args:
        dim: of the shared representation. sample: texts of each source that are looked at. ridge: added to the
            covariance C, as a share of tr(C^2) / tr(C).

    When to use: a pool of some sources (shops, sites, tasks) by the column `source`, a few of which are to be used. On
    labelled tasks of digits it needed a seventh of the sources that nu^2 takes and gave no smaller error. Relations:
    `dsir` and `color-filter` look at each text and at no source; `hurtful-sources` asks which source others are learnt
    better without.

    Shapes: x an iterable of n texts, y [n] with True for target texts and otherwise the name of the source; score [n]
    float32. Raises `DataError` for what is no text, missing marks, fewer than two sources or more than 2,000, no words,
    and a target that is like no source more than like the others.
    """

    def __init__(
        self,
        *,
        dim: Annotated[int, Field(ge=1, le=1000)] = 20,
        penalty: Annotated[float, Field(ge=1e-3, lt=1)] = 0.1,
        sample: Annotated[int, Field(ge=2, le=100_000)] = 200,
        ridge: Annotated[float, Field(ge=1e-4, le=1e4)] = 0.3,
        buckets: Annotated[int, Field(ge=2, le=4000)] = 1000,
    ) -> None:
        self.dim = dim
        self.penalty = penalty
        self.sample = sample
        self.ridge = ridge
        self.buckets = buckets

    def fit(self, x: Iterable[str], y: Iterable[Any] | None = None) -> L1AMtrl:
        """Look at all sources and the target; x and y may be streams of equal length."""
        return self._relate(_samples.Seen({}, np.zeros(self.buckets), 0), x, y)

    def observe(self, x: Iterable[str], y: Iterable[Any] | None) -> L1AMtrl:
        """Look at further texts; the result is that of one `fit` on all."""
        return self._relate(self.seen_, x, y) if hasattr(self, "seen_") else self.fit(x, y)

    def relevance(self, heads: np.ndarray, target: np.ndarray, *, towards: bool = False) -> np.ndarray:
        """[tasks] nu by Lasso: which columns of heads [k, tasks] a target's head [k] is made of; `towards`: nu >= 0."""
        from sklearn.linear_model import Lasso

        along = heads.T @ target
        top = float((along if towards else np.abs(along)).max())
        if top <= 1e-12:
            raise DataError("the target is like no source more than like the others: there is nothing to prefer")
        size = np.linalg.norm(target)
        alpha = self.penalty * top / size / len(target)  # of a target of length 1, and by the mean over the rows
        lasso = Lasso(alpha, fit_intercept=False, positive=towards, max_iter=100_000, tol=1e-6)
        found: np.ndarray = lasso.fit(heads, target / size).coef_ * size
        return found

    def score(self, x: Iterable[str]) -> np.ndarray:
        """[n] float32, higher = more like what the relevant sources have of the target."""
        self._fitted()
        found = [_samples.features(texts, self.buckets) @ self.direction_ - self.offset_ for texts in _hashed.blocks(x)]
        if not found:
            raise DataError("there are no texts to score")
        return np.concatenate(found).astype(np.float32)

    def select(self, x: Iterable[str], n: int, *, rng: np.random.Generator, sources: Iterable[Any]) -> np.ndarray:
        """[n] row numbers, rising: the budget of each source, drawn at random. The texts themselves are not read."""
        self._fitted()
        code = {name: i for i, name in enumerate(self.relevance_)}
        of = np.fromiter((code.get(str(name), -1) for name in sources), dtype=np.int64)
        if (of < 0).any():
            raise DataError("some texts are of a source that was not there when the score was fitted")
        if not 0 < n <= len(of):
            raise DataError(f"cannot select {n} of {len(of)} texts")
        size = np.bincount(of, minlength=len(code))
        take = budgets(np.abs(list(self.relevance_.values())), n, size)
        drawn = [rng.choice(np.flatnonzero(of == i), m, replace=False) for i, m in enumerate(take) if m]
        return np.sort(np.concatenate(drawn))

    def _relate(self, seen: _samples.Seen, x: Iterable[str], y: Iterable[Any] | None) -> L1AMtrl:
        if y is None:
            raise DataError("l1-a-mtrl needs marks: fit(x, y) with y True for target texts, else the source's name")
        seen = _samples.taken_in(seen, x, y, sample=self.sample)
        means, squares, counts = [], np.zeros((self.buckets, self.buckets)), []
        for of in seen.kept.values():
            z = _samples.features([of[h] for h in sorted(of)], self.buckets)
            means.append(z.mean(axis=0))
            counts.append(len(z))
            squares += z.T @ z
        m, n = np.stack(means, axis=1), np.array(counts, float)
        mean = m @ n / n.sum()
        middle = m.mean(axis=1, keepdims=True)
        moments = (m - middle) * len(n) / (len(n) - 1) / 2  # half of what a source's mean differs from the others'
        tasks = shared(
            mean, squares / n.sum() - np.outer(mean, mean), moments, n, dim=min(self.dim, len(n)), ridge=self.ridge
        )
        target = tasks.basis.T @ (seen.total / seen.count - middle[:, 0]) / 2
        nu = self.relevance(tasks.heads, target, towards=True)
        self.seen_ = seen
        self.relevance_ = dict(zip(seen.kept, nu.tolist(), strict=True))
        self.direction_ = tasks.basis @ (tasks.heads @ nu)
        self.offset_ = float(mean @ self.direction_)
        return self

    def _fitted(self) -> None:
        if not hasattr(self, "relevance_"):
            raise DataError("l1-a-mtrl has not been fitted yet: call fit(x, y) first")
