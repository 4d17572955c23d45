"""Interpolation and extrapolation: the same search on kinds of query seen in training and on kinds that were not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.gains import found
from tellapart.core.linear import ridge_scorer
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
FIGURES = ("interpolation", "extrapolation", "gap", "random split")
_COLUMNS = ("bucket", "test queries", "interpolation", "extrapolation")
_FEWEST, _FEWEST_HERE, _RIDGE, _SHOWN = 30, 5, 1.0, 6


@part(
    paper="Zhan et al., Evaluating Interpolation and Extrapolation Performance of Neural Retrieval Models, CIKM 2022",
    place="audit",
    system="interp-extrap",
    traits=("query", "document"),
    needs=("sklearn",),
    aliases=("resttest",),
)
def interp_extrap(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    train: Callable[[np.ndarray], Scorer] | None = None,
    *,
    seed: int = 0,
    buckets: Annotated[int, Field(ge=2, le=50)] = 5,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    twin: Annotated[float, Field(gt=0, le=1)] = 0.95,
    target: str = "",
    items: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000,
) -> Report:
    """How much of a search's figure is owed to test queries that are like its training queries (ReSTTest).

    Formula:
        Queries of training and test are clustered together into K buckets. For each bucket b a model is trained on the
        training queries of the others; hit_b(i) is 1 if test query i has a relevant document among its first k.
        interpolation(i) = mean over b != b(i) of hit_b(i);   extrapolation(i) = hit_b(i)(i).
    Both are means over the same test queries; the paper's mean over rotations is the same for buckets of equal size.
    `random split` leaves out as many training queries, drawn without regard to buckets. Test queries with a near twin
    in training (cosine >= `twin`, or the same duplicate group) are left out first. Each query is ranked among the
    documents of the remaining test queries. Intervals are over test queries (their groups), for the clustering and the
    trained models as they are. ReSTrain, which resamples the training queries for each test query, is not part of this.
    Use it before a figure on a random split is believed for queries of a new kind.

    Args:
        vectors: `query` [n, d] and `document` [n, e] frozen features, a row an item; without `document`, both are one.
        collection: with `split` (train and validation against test; otherwise a quarter of the groups is drawn for
            test), `group` if there is one, and the column that makes two items relevant to each other.
        train: training rows -> ((query rows, document rows) -> scores [q, d]); without it a ridge map of the features.
        target: column whose equal values are relevant; "" takes what the columns say, or only an item's own pair.
        items: above so many, so many are drawn, where there is no `train`.

    Raises `DataError` for rows that do not match, values that are not finite, or too few queries.
    """
    from sklearn.cluster import KMeans

    q = unit_rows(matrix(vectors.get("query"), what="query"))
    same = "document" not in vectors
    d = q if same else unit_rows(matrix(vectors["document"], what="document"))
    if not len(q) == len(d) == len(collection):
        raise DataError(f"{len(q)} query rows, {len(d)} document rows and {len(collection)} items do not match")
    rng = np.random.default_rng(seed)
    if train is None and len(q) > items:
        few = np.sort(rng.choice(len(q), items, replace=False))
        q, d, collection = q[few], d[few], collection.take(few)
    of = _targets(collection, target, same)
    group = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    names = rng.permutation(np.unique(group))
    test = np.isin(group, names[: max(1, len(names) // 4)])
    if "split" in collection.columns:
        test = np.array([value == "test" for value in collection.values("split")])
    old, new = np.flatnonzero(~test), np.flatnonzero(test)
    near = np.isin(group[new], group[old]) | ((q[new] @ q[old].T).max(axis=1, initial=-1) >= twin)
    pool = new[~near]
    twins = group[pool, None] == group[pool]
    related = (of[pool, None] == of[pool]) & ~(twins & same)
    some = related.any(axis=1)
    asked, related, ignored = pool[some], related[some], twins[some] & ~related[some]
    if min(len(old), len(asked)) < 2 * buckets:
        left = f"{len(asked)} test queries ({int(near.sum())} with a near twin in training left out)"
        raise DataError(f"{len(old)} training and {left} are too few for {buckets} buckets")
    train = train or (lambda rows: ridge_scorer(q, d, of, rows, _RIDGE))
    bucket = KMeans(buckets, n_init=3, random_state=seed).fit_predict(q)
    drawn = rng.permutation(bucket[old])
    hits = np.empty((2, buckets, len(asked)))
    for b in range(buckets):
        for way, left_out in enumerate((bucket[old] == b, drawn == b)):
            scores = np.asarray(train(old[~left_out])(asked, pool))
            if scores.shape != related.shape or not np.isfinite(scores).all():
                raise DataError(f"a scorer must give finite scores {related.shape}, not {scores.shape} or others")
            hits[way, b] = found(np.where(ignored, -np.inf, scores), related, k)
    here = bucket[asked]
    new_kind = hits[0, here, np.arange(len(asked))]
    seen = (hits[0].sum(axis=0) - new_kind) / (buckets - 1)
    figures = []
    for name, values in zip(FIGURES, (seen, new_kind, seen - new_kind, hits[1].mean(axis=0)), strict=True):
        low, high = redraw.interval(
            redraw.mean(values), group[asked], seed=seed, ends=(-1.0 if name == "gap" else 0.0, 1.0)
        )
        note = f"R@{k}" if low is not None else f"R@{k}; too few test queries for an interval"
        figures.append(Figure(name, float(values.mean()), low, high, count=len(asked), note=note))
    count = list(enumerate(np.bincount(here, minlength=buckets).tolist()))
    rows = [[b + 1, n, *(float(v[here == b].mean()) if n else None for v in (seen, new_kind))] for b, n in count]
    told = _verdict(figures[2], len(asked), sum(n >= _FEWEST_HERE for _, n in count))
    facts = {"seed": seed, "buckets": buckets, "k": k, "twin": twin, "twins left out": int(near.sum())}
    report = Report("Interpolation and extrapolation", facts=facts).add(Text(told, "verdict"), *figures)
    if figures[2].low is not None:
        gap = seen - new_kind
        worst = [i for i in np.argsort(-gap, kind="stable")[:_SHOWN] if gap[i] > 0]
        shown = [
            Example([str(collection.ids[asked[i]])], "found among known kinds, missed as a new one") for i in worst
        ]
        said = f"queries of a kind that training has not seen are found less often, by {figures[2]}"
        p = mean_above(gap, group[asked], seed=seed)
        figure = replace(figures[2], name="loss on new kinds of query")
        report.add(Finding(figure, said, p, ids=collection.ids[asked].tolist(), values=gap.tolist(), examples=shown))
    return report.add(Table("By bucket", _COLUMNS, rows, f"{int(near.sum())} test queries with near twins left out"))


def _verdict(gap: Figure, count: int, filled: int) -> str:
    if count < _FEWEST or filled < 2 or gap.low is None:
        return f"cannot tell: {count} test queries, at least {_FEWEST_HERE} of them in {filled} buckets"
    if gap.low > 0:
        return f"queries of a new kind fare worse, by {gap}: a figure on a random split flatters"
    return f"no loss on queries of a new kind shown: the difference is {gap}"


def _targets(collection: Collection, target: str, same: bool) -> np.ndarray:
    """[n] codes whose equal values are relevant to each other; a missing value is relevant to itself alone."""
    column = target or next((c for c in ("target", "label")[: 1 + same] if c in collection.columns), "")
    if same and not column:
        raise DataError("queries and documents are one: name the column of equal values that are relevant (target=…)")
    codes = collection.codes(column)[0] if column else np.full(len(collection), -1)
    return np.where(codes < 0, len(codes) + np.arange(len(codes)), codes)
