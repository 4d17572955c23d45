"""Dimensional collapse: how many directions of a space are in use, and what was lost beside the frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.gains import gain
from tellapart.core.outcomes import outcomes
from tellapart.core.parts import part
from tellapart.core.redraw import Z
from tellapart.core.report import Figure, Finding, Report, Text

_FEWEST, _PIECES, _WIDEST = 40, 10, 512


@part(
    paper="Garrido et al., RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations "
    "by Their Rank, ICML 2023; anisotropy: Ethayarajh, EMNLP 2019",
    place="audit",
    traits=("document", "k"),
    aliases=("effective-rank", "rankme"),
)
def dimensional_collapse(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    items: Annotated[int, Field(ge=50, le=20_000)] = 2000,
) -> Report:
    """Whether the trained space uses its directions, and whether labels can be told from it that frozen features tell.

    Formula, for unit vectors Z [n, d] with singular values s and p = s / sum s:
        effective rank = exp(- sum p log p)   (RankMe; d when all directions are in use alike, 1 when there is one)
        anisotropy = mean cosine of two different items   (0 when they lie in all directions alike)
    of the documents under the model. Intervals are by the jackknife over ten pieces. A rank says nothing of harm: the
    finding, where there are labels, is the share of items whose label is told from the frozen features (512 random
    directions of them, where there are more), less the share from the trained vectors, both by a ridge regression
    fitted on the other folds. Its p is that of a sign test in which one item in a hundred is first forgiven.

    Use it to see whether training threw away what something else needs. Ranks are compared at one number of items.

    Args:
        vectors: `k` [n, d]: trained vectors of the documents; `document` [n, e]: their frozen features.
        by: the column of labels. items: above so many, so many are drawn.

    Raises `DataError` for rows that do not match, values that are not finite, or fewer than ten items.
    """
    n = len(collection)
    if not n == len(vectors.get("k", ())) == len(vectors.get("document", ())) or n < _PIECES:
        raise DataError(f"give `k` and `document` for each of the {n} items, and at least {_PIECES} items")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, min(items, n), replace=False))
    z, x = (matrix(np.asarray(vectors[name])[rows], what=name) for name in ("k", "document"))
    report = Report("Dimensional collapse", facts={"seed": seed, "items": len(rows), "dimensions": z.shape[1]})
    if len(rows) < _FEWEST:
        report.add(Text(f"cannot tell: {len(rows)} items, and at least {_FEWEST} are needed", "verdict"))
    piece = rng.permutation(len(rows)) % _PIECES
    model, frozen = unit_rows(z), unit_rows(x)
    if frozen.shape[1] > _WIDEST:
        frozen = frozen @ rng.normal(size=(frozen.shape[1], _WIDEST))
    for name, measure in (("effective rank", _rank), ("anisotropy", _cosine)):
        value = measure(model)
        without = np.array([measure(model[piece != f]) for f in range(_PIECES)])
        wide = Z * float(np.sqrt((_PIECES - 1) / _PIECES * ((without - without.mean()) ** 2).sum()))
        report.add(Figure(name, value, value - wide, value + wide, len(rows)))
    if by not in collection.columns:
        return report.add(Text(f"whether something was lost cannot be asked: there is no column {by!r}"))
    some = collection.take(rows)
    try:
        new, old = (outcomes({"k": v}, some, seed=seed, by=by, most=items) for v in (model, frozen))
    except DataError as error:
        return report.add(Text(f"whether something was lost cannot be asked: {error}"))
    lost = gain(new.right, old.right, old.groups, seed=seed)
    figure = Figure(
        "lost beside the frozen features",
        lost.value,
        lost.low,
        lost.high,
        lost.count,
        note=f"{by} told, share of items",
    )
    said = f"{old.right.mean():.1%} of {by}s are told from the frozen features, {new.right.mean():.1%} after training"
    return report.add(
        Finding(
            figure,
            said,
            lost.p,
            ids=[str(i) for i in some.ids[old.rows]],
            values=lost.values.tolist(),
            mend="tellapart run {data} --set head=residual-head",
        )
    )


def _rank(z: np.ndarray) -> float:
    gram = z.T @ z if z.shape[1] <= len(z) else z @ z.T
    s = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    p = s[s > 0] / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _cosine(z: np.ndarray) -> float:
    n = len(z)
    return float(((z.sum(axis=0) ** 2).sum() - n) / (n * (n - 1)))
