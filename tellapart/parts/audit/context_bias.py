"""Tags that are told by their usual company: how much lower a model scores one where the other is missing."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.company import bias, biased, precision, told
from tellapart.core.cues import one_of_each, tags_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text

_LEAST, _SHOWN, _MOST_TAGS = 10, 12, 80


@part(
    paper="Singh et al., Don't Judge an Object by Its Context: Learning to Overcome Contextual Bias, CVPR 2020; Kim, "
    "Zhang, Meister, Russakovsky: [Re] Don't Judge an Object by Its Context, ReScience C 2021",
    place="audit",
    system="re-context-bias",
    traits=("document",),
    aliases=("re-context-bias", "biased-pairs"),
)
def context_bias(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    pairs: Annotated[int, Field(ge=1, le=100)] = 10,
    together: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    chosen: Annotated[float, Field(ge=0.1, le=0.9)] = 0.4,
    items: Annotated[int, Field(ge=60, le=100_000)] = 2000,
) -> Report:
    """Pairs (b, c) of tags where b is told by c: its scores with c and without, and what that costs.

    Formula, with s_b(i) the score of tag b for item i, told by items of the other folds:
        bias(b, c) = mean of s_b over items with b and c / mean of s_b over items with b and without c.
        Of every b the c of the largest bias, among those that stand with it in more than the share `together` of its
        items, and more often than with others (which the paper does not ask for); of these the `pairs` most biased.
        Chosen on the share `chosen` of the items, measured on the rest.
        AP co-occur, AP exclusive: the average precision of s_b with the items that have b and c, or b without c, as
        what is to be found, among all items without b. Both depend on how many there are to be found: compare models,
        not the two with each other.
    The paper takes the sigmoid of a network's output; here s is a ridge regression onto all tags at once on the model's
    vectors, between 0.001 and 1. A finding is mean s_b with c less mean s_b without; its p is the larger of that of
    the difference, by permutation, and of b and c standing together more often than by chance, by Fisher's test.

    Use it where items have several tags (`attributes`, `tags`), or captions: their words are the tags then. What it
    finds is no proof of harm, since things that stand together look alike too; AP exclusive says what it costs.

    Relations: `feature-split` classifies with less of it; `counteranimal` asks it of classes and cues of pictures.

    Args:
        vectors: `k` [n, d] of the model, or else `document`.
        items: above this many, so many are drawn; duplicates count once.

    Raises `DataError` for rows that do not match and no tags.
    """
    x = matrix(vectors.get("document"), what="document")
    x = matrix(vectors["k"], what="k") if "k" in vectors else x
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    said, column = tags_of(collection)
    rng = np.random.default_rng(seed)
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(x))
    rows = one_of_each(groups)
    rows = np.sort(rng.choice(rows, items, replace=False)) if len(rows) > items else rows
    count: dict[str, int] = {}
    for row in rows:
        for tag in said[row]:
            count[tag] = count.get(tag, 0) + 1
    names = sorted((t for t, c in count.items() if 2 * _LEAST <= c <= 0.9 * len(rows)), key=lambda t: (-count[t], t))
    names = names[:_MOST_TAGS]
    report = Report("Tags and their company", facts={"seed": seed, "items": len(rows), "tags": column})
    note = f"tags that {2 * _LEAST} items or more have; a count has no interval"
    report.add(Figure("tags", len(names), count=len(rows), unit="tags", note=note))
    if len(rows) < 6 * _LEAST or len(names) < 2:
        why = f"{len(names)} tags of {len(rows)} items have {2 * _LEAST} items or more"
        return report.add(Text(f"cannot tell: {why}, and two of 60 items are needed", "verdict"))
    has = np.array([[tag in said[row] for tag in names] for row in rows])
    score = told(unit_rows(x[rows]), has, rng)
    first = rng.random(len(rows)) < chosen
    table, precise = [], [precision(score[:, b], has[:, b]) for b in range(len(names))]
    note = "over tags, each told from items of the other folds; tags are no sample"
    report.add(Figure("mean average precision", float(np.mean(precise)), count=len(names), note=note))
    for b, c in biased(score[first], has[first], pairs, together):
        found = _finding(b, c, score, has, np.flatnonzero(~first), [str(i) for i in collection.ids[rows]], names, seed)
        if found is not None:
            report.add(found[0])
            table.append(found[1])
    if not table:
        return report.add(Text("cannot tell: no two tags stand together, and apart, often enough", "verdict"))
    return report.add(Table("Biased pairs", ["tag", "company", "bias", "AP co-occur", "AP exclusive"], table))


def _finding(
    b: int, c: int, score: np.ndarray, has: np.ndarray, rows: np.ndarray, ids: list[str], names: list[str], seed: int
) -> tuple[Finding, list[Any]] | None:
    mine = rows[has[rows, b]]
    if min(has[mine, c].sum(), (~has[mine, c]).sum()) < _LEAST:
        return None
    found = difference(score[mine, b], has[mine, c], mine, seed=seed, alternative="greater")
    company = difference(has[rows, b].astype(float), has[rows, c], rows, seed=seed, alternative="greater")
    if found is None or company is None:
        return None
    cells: list[Any] = [names[b], names[c], bias(score[rows], has[rows], b, c)]
    for kind in (has[:, c], ~has[:, c]):
        among = rows[~has[rows, b] | kind[rows]]
        value, wanted = precision(score[among, b], has[among, b]), has[among, b]
        ends = redraw.interval(functools.partial(precision, score[among, b], wanted), among, seed=seed, draws=200)
        cells.append(Figure("AP", value, *ends, count=int(wanted.sum())))
    lost = sorted((r for r in mine if not has[r, c]), key=lambda r: float(score[r, b]))
    sentence = (
        f"Items with {names[b]!r} score {found.value:.2f} lower for it where {names[c]!r} is missing "
        f"({found.outside} items) than where it is there ({found.inside})."
    )
    shown = [Example([ids[r]], f"{names[b]} without {names[c]}", (float(score[r, b]),)) for r in lost[:_SHOWN]]
    figure = Figure(f"{names[b]} without {names[c]}", found.value, found.low, found.high, len(mine))
    parts = {"ids": [ids[r] for r in mine[found.unit]], "values": found.parts.tolist()}
    return Finding(figure, sentence, max(found.p, company.p), examples=shown, **parts), cells
