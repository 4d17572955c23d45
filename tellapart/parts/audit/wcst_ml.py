"""Which cue a model takes where two say the same: taught where they agree, asked where they do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import wilson
from tellapart.core.collection import Collection
from tellapart.core.cues import of_columns, one_of_each
from tellapart.core.errors import DataError
from tellapart.core.factors import FACTORS, LEVELS, diagonal, drawn, off_diagonal, shapes
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.picture_cues import picture_cues
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.parts.audit._taught import LEAST, before, fitter


@part(
    paper="Scimeca, Oh, Chun, Poli, Yun: Which Shortcut Cues Will DNNs Choose? A Study from the Parameter-Space "
    "Perspective, ICLR 2022",
    place="audit",
    system="wcst-ml",
    traits=("document",),
    aliases=("cue-preference",),
)
def wcst_ml(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    columns: str = "",
    classify: str = "",
    cues: Annotated[int, Field(ge=2, le=20)] = 8,
    pictures: Annotated[int, Field(ge=0, le=10_000)] = 0,
    items: Annotated[int, Field(ge=60, le=100_000)] = 800,
) -> Report:
    """The order in which a model takes cues that are equally good: columns, and what pictures look like.

    Formula, for each two cues a and b of a collection, with their two commonest values 0 and 1:
        taught    on the diagonal, the cells (a, b) = (0, 0) and (1, 1), as many items of each, the class being both
        asked     off it, (0, 1) and (1, 0): every answer is that of a or that of b
        a before b = the share of answers by a, mean over both cells, and over the same with b's values exchanged, so
                     that what else differs between cells counts once for a and once for b
        preference of a = mean of "a before b" over the other cues b
    With `pictures` above 0 and an encoder of pictures the published laboratory as well: so many pictures of four
    classes that differ in shape, colour, size, place, turn and ground at once, and so many in which each of these is
    dealt by itself; `drawn, colour` is the share of the latter that is told by its colour (chance: 1/4).

    Use it before labels are collected: what stands first is what a model would learn in place of the class wherever it
    goes with the class. Nothing is called found: a preference is no fault until a cue goes with the class, and that is
    what `counteranimal` and `shortcut-availability` ask.

    What was changed: the paper trains networks from pixels, from many starts, and measures how flat and how frequent
    the solutions are; here a classifier is fitted on the vectors of the model. The evidence has the frequency.

    Args:
        vectors: `document` [n, d] (`k` where there is one); `pictures` and `image-encoder` where there are.
        columns: names with "|" between, in place of all columns of few values.
        classify: spec of a classifier; "" is a ridge regression onto both classes.

    Raises `DataError` for rows that do not match and no such column.
    """
    x = matrix(vectors.get("document"), what="document")
    x = matrix(vectors["k"], what="k") if "k" in vectors else x
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    wanted = [name for name in columns.split("|") if name]
    if missing := [name for name in wanted if name not in collection.columns]:
        raise DataError(f"there is no column {missing[0]!r}; there are {', '.join(collection.columns)}")
    rng = np.random.default_rng(seed)
    rows = one_of_each(collection.numbers("group") if "group" in collection.columns else np.arange(len(x)))
    rows = np.sort(rng.choice(rows, items, replace=False)) if len(rows) > items else rows
    told = [cue for cue in of_columns(collection.take(rows)) if not wanted or cue.name in wanted]
    seen = picture_cues(vectors["pictures"], rows.tolist()) if "pictures" in vectors and not wanted else []
    told = [*seen, *told][:cues]
    fit, z = fitter(classify), unit_rows(x[rows])
    pairs = {(a.name, b.name): before(z, a, b, fit, rng) for a, b in itertools.combinations(told, 2)}
    report = Report("Which cue is taken", facts={"seed": seed, "items": len(rows), "cues": [c.name for c in told]})
    report.add(Figure("cues", len(told), count=len(rows), unit="cues", note="a count has no interval"))
    known = {pair: share for pair, share in pairs.items() if share is not None}
    order = []
    for cue in told:
        mine = [(s, w) if a == cue.name else (1 - s, w) for (a, b), (s, w, _) in known.items() if cue.name in (a, b)]
        if mine:
            order.append((cue.name, *np.mean(mine, axis=0).tolist()))
    # The pairs of a cue have items in common, so their mean is taken to be as sure as one of them.
    for name, share, wide in sorted(order, key=lambda one: -one[1]):
        ends = max(0.0, share - wide), min(1.0, share + wide)
        report.add(Figure(f"preference: {name}", share, *ends, count=len(rows)))
    if known:
        cells = [[a, b, Figure("share", s, max(0.0, s - w), min(1.0, s + w), n)] for (a, b), (s, w, n) in known.items()]
        report.add(Table("One cue before another", ["cue", "before", "share of answers"], cells))
    else:
        report.add(Text(f"cannot tell: no two cues have {LEAST} items in each of four cells", "verdict"))
    if pictures and "image-encoder" in vectors:
        report.add(*_laboratory(vectors["image-encoder"], pictures, fit, rng))
    return report


def _laboratory(
    encode: Callable[..., Any], count: int, fit: Callable[..., Any], rng: np.random.Generator
) -> list[Figure]:
    """Of pictures whose factors are dealt one by one, the share that is told by each factor."""
    masks = shapes()
    same, apart = diagonal(FACTORS, max(count, 2 * LEVELS), rng), off_diagonal(FACTORS, max(count, 2 * LEVELS), rng)
    taught, asked = (unit_rows(matrix(encode(drawn(masks, FACTORS, levels, rng)))) for levels in (same, apart))
    said = fit(taught, same[:, 0])(asked)
    shares = {name: float((said == apart[:, i]).mean()) for i, name in enumerate(FACTORS)}
    return [Figure(f"drawn, {name}", s, *wilson(s, len(asked)), count=len(asked)) for name, s in shares.items()]
