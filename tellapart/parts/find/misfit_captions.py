"""Captions that are of something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import correlated, folds_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.findings import Findings
from tellapart.core.parts import part

_FEWEST, _BLOCK = 100, 1000


@part(
    paper="Schuhmann et al., LAION-5B: An open large-scale dataset for training next generation image-text models, "
    "NeurIPS 2022",
    place="curate",
    system="laion-5b",
    traits=("two-sides", "query", "document"),
    aliases=("alignment-score",),
)
def misfit_captions(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    folds: Annotated[int, Field(ge=2, le=100)] = 10,
    dim: Annotated[int, Field(ge=1, le=4096)] = 128,
    ridge: Annotated[float, Field(gt=0, le=1e6)] = 3.0,
    most: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000,
    surely: Annotated[float, Field(gt=0, lt=1)] = 0.8,
) -> Findings:
    """Pairs that fit no better than sides put together at random, under a model of the other pairs.

    Formula:
        The items are dealt into `folds`, near duplicates into one. Towers f and g (canonical correlation, on at most
        `most` pairs of the other folds) give s_ij = cos(f(query i), g(document j)) within blocks of a fold, and
        t_ij = (s_ij - mean_j) / deviation_j + (s_ij - mean_i) / deviation_i, over the row i and over the column j.
        score_i = share of the pairs i != j of other identities, all wrong, with t_ij >= t_ii; uniform for a misfit.
        p = min(1, 4 * share of the items with score > 3/4) estimates how many of the n are misfits, so p n (1 - c) of
        them score c or more. The threshold is the lowest score c with p n (1 - c) >= surely * number of scores >= c.

    LAION-5B keeps pairs whose cosine under CLIP is at least 0.28 (0.26 where not English). Taken from it: the pairs are
    ordered by what a joint model says of them, and dropped below a threshold. Here the model is made of the collection
    itself, never of the pair that it judges, and the threshold of the data, as no number fits every model.

    Use it on pairs that were scraped or joined by a key. A few hundred pairs are needed, of which most are right; where
    they are not, or the features know nothing of each other, it says that it cannot tell.

    Relations: `odd-captions` finds captions that say nothing.

    Args:
        vectors: `query` and `document`, [n, d] each.
        collection: of pairs; `near` or `group`, and `target`, say what is the same.

    Raises `DataError` for too few pairs, rows that do not match, values that are not finite, or pairs of which more
    than four fifths look like misfits.
    """
    x, y = (matrix(vectors.get(name), what=name) for name in ("query", "document"))
    n = len(collection)
    if not len(x) == len(y) == n or n < _FEWEST:
        raise DataError(f"{len(x)} and {len(y)} vectors, {n} items: give as many, at least {_FEWEST}")
    whole = next((collection.codes(c)[0] for c in ("near", "group") if c in collection.columns), np.arange(n))
    target = collection.sides().target
    same = collection.codes(target)[0] if target else whole
    rng = np.random.default_rng(seed)
    fold, scores = folds_of(whole, folds, rng), np.zeros(n)
    for f in range(folds):
        rest = np.flatnonzero(fold != f)
        if len(rest) < _FEWEST // 2 or not (fold == f).any():
            raise DataError(f"most of the {n} items are duplicates of each other: {folds} folds cannot be made")
        rest = rng.permutation(rest)[:most]
        towers = correlated(x[rest], y[rest], dim=dim, ridge=ridge)
        for rows in _blocks(np.flatnonzero(fold == f), rng):
            scores[rows] = _outdone(towers[0](x[rows]) @ towers[1](y[rows]).T, same[rows])
    misfits = min(1.0, 4 * float((scores > 0.75).mean()))
    if misfits > 0.8:
        raise DataError(
            f"cannot tell: {misfits:.0%} of the pairs fit no better than random ones, under a model of the others; "
            "give encoders that know more of these items, or more pairs"
        )
    shown = _threshold(scores, misfits, surely)
    reasons = [f"{s:.0%} of wrong pairs fit as well, under a model of the others" if s >= shown else "" for s in scores]
    return Findings.of("misfit-captions", collection.ids, scores, shown=shown, action="drop", reasons=reasons)


def _blocks(rows: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The rows at random in blocks of about one size."""
    yield from np.array_split(rng.permutation(rows), -(-len(rows) // _BLOCK))


def _outdone(s: np.ndarray, same: np.ndarray) -> np.ndarray:
    """[n] share of wrong pairs that fit at least as well as each row's own, which stand on the diagonal of s."""
    deviations = [np.maximum(s.std(axis=axis, keepdims=True), 1e-12) for axis in (0, 1)]
    t = sum((s - s.mean(axis=axis, keepdims=True)) / deviations[axis] for axis in (0, 1))
    wrong = np.sort(t[same[:, None] != same[None]])
    if not len(wrong):
        raise DataError("all items are the same: there are no wrong pairs to compare with")
    return 1 - np.searchsorted(wrong, np.diagonal(t), side="left") / len(wrong)


def _threshold(scores: np.ndarray, misfits: float, surely: float) -> float:
    """The lowest score from which on at least the share `surely` are misfits; infinity where that is none."""
    falling = np.sort(scores)[::-1]
    expected = misfits * len(scores) * (1 - falling)
    enough = np.flatnonzero(expected >= surely * np.arange(1, len(scores) + 1))
    return float(falling[enough[-1]]) if len(enough) else np.inf
