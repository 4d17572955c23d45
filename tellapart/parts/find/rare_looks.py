"""Pictures that look as few others do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.findings import Findings
from tellapart.core.looks import looks_of, shares
from tellapart.core.parts import part

_FEWEST = 50


@part(
    paper="Shrivastava, Zhang, Nagesh, Parchami: DatasetEquity: Are All Samples Created Equal? In The Quest For Equity "
    "Within Datasets, ICCV Workshops 2023",
    place="curate",
    system="dataset-equity",
    traits=("document",),
    needs=("sklearn",),
    aliases=("imbalance-of-looks",),
)
def rare_looks(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    rare: Annotated[float, Field(gt=0, lt=1)] = 0.1,
) -> Findings:
    """Pictures of a look that a small share of the collection has: what training will know least of.

    Formula, for item i whose look is that of the share p_i of all items:
        score_i = 1 - p_i; proposed, as `look`, where p_i <= `rare` * mean_j p_j.
    Looks are clusters of the frozen features (`core.looks`). mean_j p_j is how common the look of a usual item is: of
    thirty looks that are all as frequent none is rare, and one of 4% beside one of 96% is.

    Taken from the paper: the share of an item's cluster as how likely its look is. The threshold is of this part. It
    is no fault to look otherwise: keep such items if they will be asked for, get more of them, or let them count more
    with `strategy=dataset-equity`. It sees only what the features tell apart: the usual encoder of pictures finds
    inverted or turned digits, and not single inverted garments, which it takes for garments.

    Relations: `dataset-equity` weighs items by these shares when it trains.

    Args:
        vectors: `document` [n, d], of the pictures.
        collection: of pictures, with or without texts.

    Raises `DataError` for items that are no pictures, fewer than 50 of them, rows that do not match, or values that are
    not finite.
    """
    if collection.sides().document.modality != "image":
        raise DataError("looks are of pictures, and these items are none")
    n = len(collection)
    if n < _FEWEST:
        raise DataError(f"which looks are rare cannot be told of {n} items: give {_FEWEST}")
    x = matrix(vectors.get("document"), what="document")
    if len(x) != n:
        raise DataError(f"{n} items need as many rows of vectors, not {len(x)}")
    share = shares(looks_of(x, seed=seed))
    told = share <= rare * share.mean()
    reasons = [
        f"its look is shared by {p:.1%} of the items ({round(p * n)} of {n})" if t else ""
        for p, t in zip(share.tolist(), told.tolist(), strict=True)
    ]
    shown = float((1 - share[told]).min()) if told.any() else np.inf
    return Findings.of("rare-looks", collection.ids, 1 - share, shown=shown, action="look", reasons=reasons)
