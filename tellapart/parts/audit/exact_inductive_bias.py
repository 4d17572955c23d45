"""Inductive bias: how much a learner must know beforehand to do a task from these features and so many examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.redraw import Z
from tellapart.core.report import Figure, Report, Text

_FEWEST, _JITTER, _SHARES = 60, 1e-6, (0.0, 0.3, 0.6, 0.8, 0.95)


@part(
    paper="Boopathy, Yue, Hwang, Iyer, Fiete: Towards Exact Computation of Inductive Bias, IJCAI 2024",
    place="audit",
    system="exact-inductive-bias",
    traits=("document", "labels", "asks"),
    needs=("scipy",),
    aliases=("inductive-bias",),
)
def exact_inductive_bias(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    target: Annotated[float, Field(gt=0, lt=10)] = 0.5,
    kernel: Literal["rbf", "linear"] = "rbf",
    hypotheses: Annotated[int, Field(ge=20, le=10_000)] = 100,
    train: Annotated[int, Field(ge=20, le=2000)] = 300,
    test: Annotated[int, Field(ge=20, le=2000)] = 200,
) -> Report:
    """Nats of knowledge that pick, among all that fits the examples, what does well on the rest.

    Formula: hypotheses are drawn from the posterior of a Gaussian process that fits the training labels (one-hot, less
    their mean) exactly; the loss of each is its squared error on the test items over that of the mean label. A scaled
    non-central chi-squared distribution of location 0 is fitted to the losses of `hypotheses` of them, and
        inductive bias = -log P(loss <= target)   in nats
    under it. `rbf` has the median distance for its width, `linear` is x'z + 1. The interval is by the jackknife over
    ten pieces of the hypotheses, for the training and test items as they are.

    The difference between two spaces at one target is what the one knows beforehand and the other does not: of frozen
    features (`document`) and, where they are there, of trained ones (`k`). From the paper: the definition and the
    family. It is fitted by its mean and variance, its non-centrality by likelihood; the paper maximises all three. The
    tail is a guess from a hundred losses, so far from them the figure is one of size only.

    Use it near losses that are reached (see `loss`): far below, it says how tightly hypotheses lie together.

    Args:
        vectors: `document` [n, d], and `k` [n, e] if there are trained ones. by: the column of labels.
        target: of the squared error, a share of that of the mean label. train, test: items, half of all at most each.

    Raises `DataError` for rows that do not match, fewer than two labels or twenty labelled items.
    """
    n = len(collection)
    if len(vectors.get("document", ())) != n:
        raise DataError(f"give `document` for each of the {n} items")
    if by not in collection.columns:
        raise DataError(f"there is no column {by!r}; there are {', '.join(collection.columns)}")
    codes, names = collection.codes(by)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(codes >= 0))
    old, new = rows[: len(rows) // 2][:train], rows[len(rows) // 2 :][:test]
    if len(rows) < 20 or len(np.unique(codes[rows])) < 2:
        raise DataError(f"{len(rows)} labelled items in {by!r} are too few, or all alike: give 20 of two labels")
    report = Report("Inductive bias", facts={"seed": seed, "training items": len(old), "test items": len(new)})
    if len(rows) < _FEWEST:
        report.add(Text(f"cannot tell: {len(rows)} labelled items, and at least {_FEWEST} are needed", "verdict"))
    y = np.eye(len(names))
    mean = y[codes[old]].mean(axis=0)
    for name in ("document", "k"):
        if len(vectors.get(name, ())) == n:
            x, z = (unit_rows(matrix(np.asarray(vectors[name])[r], what=name)) for r in (old, new))
            given, truth = y[codes[old]] - mean, y[codes[new]] - mean
            loss = _losses(_cross(x, z, kernel), given, truth, hypotheses, np.random.default_rng([seed, 1]))
            report.add(*_figures(name, loss, target))
    return report


def _figures(name: str, loss: np.ndarray, target: float) -> list[Figure]:
    count = len(loss)
    low, high = np.quantile(loss, [0.025, 0.975])
    note = "share of the mean label's squared error; the interval holds 95% of all hypotheses"
    figures = [Figure(f"loss, {name}", float(np.median(loss)), float(low), float(high), count, note=note)]
    shape = _fit(loss)
    nats = _nats(shape, target)
    piece = np.arange(count) % 10
    without = np.array([_nats(_fit(loss[piece != f]), target) for f in range(10)])
    wide = Z * float(np.sqrt(0.9 * ((without - without.mean()) ** 2).sum()))
    return [*figures, Figure(f"inductive bias, {name}", nats, nats - wide, nats + wide, count, unit="nats")]


def _cross(x: np.ndarray, z: np.ndarray, kernel: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernel matrices of training items [n, n], of test items with them [m, n], and of test items [m, m]."""
    inner = x @ x.T, z @ x.T, z @ z.T
    if kernel == "linear":
        return inner[0] + 1, inner[1] + 1, inner[2] + 1
    width = max(float(np.median((2 - 2 * inner[0])[np.triu_indices(len(x), 1)])), 1e-12)
    return tuple(np.exp(-np.maximum(2 - 2 * s, 0) / (2 * width)) for s in inner)


def _losses(
    k: tuple[np.ndarray, np.ndarray, np.ndarray], y: np.ndarray, truth: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """[count] losses of draws from the posterior."""
    root = np.linalg.cholesky(k[0] + _JITTER * len(k[0]) * np.eye(len(k[0])))
    half = np.linalg.solve(root, k[1].T)
    away = half.T @ np.linalg.solve(root, y) - truth
    values, turn = np.linalg.eigh(k[2] - half.T @ half)
    wide = turn * np.sqrt(np.maximum(values, 0))
    # The error of the mean plus a draw: |a + e|^2 = |a|^2 + 2 a'e + |e|^2, one draw a class.
    drawn = np.array([((away + wide @ rng.normal(size=away.shape)) ** 2).sum() for _ in range(count)])
    return np.asarray(drawn / max((truth**2).sum(), 1e-300))


def _fit(loss: np.ndarray) -> tuple[float, float, float]:
    """(degrees of freedom, non-centrality, scale) with the mean and variance of the losses, of greatest likelihood."""
    from scipy.stats import ncx2

    mean, variance = float(loss.mean()), max(float(loss.var()), 1e-18)
    shapes = []
    for share in _SHARES:
        scale = variance / (2 * mean * (1 + share))
        shapes.append(((1 - share) * mean / scale, share * mean / scale, scale))
    with np.errstate(all="ignore"):
        likely = [float(ncx2.logpdf(loss, df, off, scale=scale).sum()) for df, off, scale in shapes]
    return shapes[int(np.argmax(np.nan_to_num(likely, nan=-np.inf, posinf=-np.inf)))]


def _nats(shape: tuple[float, float, float], target: float) -> float:
    """-log P(loss <= target), by Sankaran's approximation (Biometrika 1963) where it is too small for the exact one."""
    from scipy.stats import ncx2, norm

    df, off, scale = shape
    with np.errstate(all="ignore"):
        if (exact := float(ncx2.logcdf(target, df, off, scale=scale))) > -600:
            return -exact
    h = 1 - 2 * (df + off) * (df + 3 * off) / (3 * (df + 2 * off) ** 2)
    p, m = (df + 2 * off) / (df + off) ** 2, (h - 1) * (1 - 3 * h)
    z = ((target / scale / (df + off)) ** h - (1 + h * p * (h - 1 - 0.5 * (2 - h) * m * p))) / (
        h * np.sqrt(2 * p) * (1 + 0.5 * m * p)
    )
    return -float(norm.logcdf(z))
