"""Sources whose items make a model worse on those of the others."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.findings import Findings
from tellapart.core.parts import part
from tellapart.core.sources import Sources, reduced, robustness

_FEWEST = 50


@part(
    paper="Nguyen, Ilharco, Wortsman, Oh, Schmidt: Quality Not Quantity: On the Interaction between Dataset Design and "
    "Robustness of CLIP, NeurIPS 2022",
    place="curate",
    system="quality-not-quantity",
    traits=("query", "document", "sources"),
)
def hurtful_sources(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    folds: Annotated[int, Field(ge=2, le=20)] = 3,
    dim: Annotated[int, Field(ge=1, le=1024)] = 64,
    epochs: Annotated[int, Field(ge=1, le=1000)] = 20,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    surely: Annotated[float, Field(gt=0.5, lt=1)] = 0.99,
) -> Findings:
    """Which sources (column `source`) the others are learnt better without.

    Formula, for source s of S with 50 items or more, items of the other sources i, each held out in one of `folds`:
        h_i(T) = share of both directions in which pair i is found, fewer than `k` wrong answers above it, by two linear
            maps of the `dim` leading directions of both sides, trained with InfoNCE on the T outside its fold
            (`core.sources`); a label counts as the other side where there is none
        score_s = mean d / standard error of d,  d_i = h_i(all but s) - h_i(all), the error by duplicate groups
        drop the items of s where score_s >= z(1 - (1 - `surely`) / S) and the mean of d is above 0 in every fold
        effective robustness of s: how many logits its models' accuracy on the others lies above the line through those
            of the other sources, against accuracy on their own items; models of a quarter, a half and all of a source

    Taken from the paper: one model on every source at several sizes, trend lines on logit axes, effective robustness,
    and that mixing dilutes: what is good alone may still make a mixture worse. The paper tests on shifts of ImageNet;
    here the other sources are the shift. It leaves the choice of sources to the reader; leaving each out in turn, with
    an interval, is added. The models are linear maps of frozen features, in place of CLIP trained from nothing.

    Use it on what was put together from several shops, feeds, annotators or crawls. What a source teaches about its own
    items does not count: one that is wanted for itself is kept by `--reject hurtful-sources`.

    It would rather miss one than name a good one: with some 200 pairs a source the harmful one always had the highest
    score, and reached the threshold in one seed of five at most. No gain is shown over asking which source's own pairs
    are found least, which names one always.

    Relations: `misfit-captions` judges single pairs; a source may hurt whose pairs agree with each other.

    Args:
        vectors: `query` and `document`, [n, d] each.
        collection: with `source`; `near` or `group`, and the target, say what is the same.

    Raises `DataError` for no column `source`, fewer than two sources of 50 items, rows that do not match or are not
    finite, and no sides to tell apart.
    """
    x, y = (matrix(vectors.get(name), what=name) for name in ("query", "document"))
    n = len(collection)
    if not len(x) == len(y) == n:
        raise DataError(f"{len(x)} and {len(y)} vectors for {n} items: give as many")
    if "source" not in collection.columns:
        raise DataError("hurtful-sources looks at a column `source`: which shop, feed or crawl each item is from")
    source, names = collection.codes("source")
    size = np.bincount(source[source >= 0], minlength=len(names))
    judged = np.flatnonzero(size >= _FEWEST)
    if len(judged) < 2:
        raise DataError(f"hurtful-sources compares sources of {_FEWEST} items or more, and there are {len(judged)}")
    whole = next((collection.codes(c)[0] for c in ("near", "group") if c in collection.columns), np.arange(n))
    target, same = collection.sides().target, whole
    if collection.sides().same_space:
        if target is None:
            raise DataError("hurtful-sources needs pairs, or labels that several items share")
        y = np.eye(len(collection.codes(target)[1]))[collection.codes(target)[0]]
    if target is not None:
        same = collection.codes(target)[0]
    known = np.flatnonzero(np.isin(source, judged))
    place = np.searchsorted(judged, source[known])
    fold = folds_of(whole[known], folds, np.random.default_rng(seed))
    x, y = (reduced(side[known].astype(np.float64), dim) for side in (x, y))
    asked = Sources(x, y, place, same[known], fold, epochs=epochs, k=k)
    everything = asked.found(np.ones(len(known), bool))
    rng = np.random.default_rng(seed)
    alone = robustness([asked.curve(place == s, rng) for s in range(len(judged))])
    score, reason = np.zeros(n), np.full(n, "", dtype=object)
    shown = NormalDist().inv_cdf(1 - (1 - surely) / len(judged))
    for s, number in enumerate(judged):
        others = place != s
        without = asked.found(others)[others]
        d, where = without - everything[others], fold[others]
        if not np.isfinite(d).all():
            continue
        gain, error = _mean_and_error(d, whole[known][others])
        steady = all(d[where == f].mean() > 0 for f in np.unique(where))
        value = gain / error if error > 0 else 0.0
        score[source == number] = value if steady else min(value, 0.99 * shown)
        reason[source == number] = (
            f"without {names[number]!r}, {without.mean():.1%} of the other sources' pairs are found instead of "
            f"{everything[others].mean():.1%} (+-{1.96 * error:.1%}); effective robustness {alone[s]:+.2f} logits"
        )
    return Findings.of(
        "hurtful-sources", collection.ids.tolist(), score, shown=shown, action="drop", reasons=list(reason)
    )


def _mean_and_error(d: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """The mean, and its standard error where what is of one group counts as one."""
    _, number = np.unique(group, return_inverse=True)
    sums = np.bincount(number, d - d.mean())
    return float(d.mean()), float(np.sqrt((sums**2).sum()) / len(d))
