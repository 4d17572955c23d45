"""Which cue of a picture a model goes by: easy and hard groups of every class, by ground, colour, size, place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.cues import of_columns, one_of_each
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.outcomes import outcomes
from tellapart.core.parts import part
from tellapart.core.picture_cues import picture_cues
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.parts.audit._cue_groups import Asked, of_classes, of_pairs, of_words

_FEWEST, _SHOWN, _COLUMNS = 60, 12, 12


@part(
    paper="Wang, Lin, Chen, Schmidt, Han, Zhang: A Sober Look at the Robustness of CLIPs to Spurious Features (Do "
    "CLIPs Always Generalize Better than ImageNet Models?), NeurIPS 2024",
    place="audit",
    system="counteranimal",
    traits=("document", "pictures"),
    aliases=("cue-groups", "spurious-grounds"),
)
def counteranimal(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    columns: str = "",
    words: Annotated[int, Field(ge=0, le=100)] = 6,
    chosen: Annotated[float, Field(ge=0.1, le=0.9)] = 0.4,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=60, le=100_000)] = 1500,
) -> Report:
    """How much accuracy drops where a cue of the picture is not the one that its class usually has.

    The published collection photographs animals before their usual ground (the common group) and before another one
    (the counter group), both chosen so that the drop between them is large. Here both groups are made of whatever
    collection there is, and chosen and measured on different items. Formula:

        cues        ground, mean colour, brightness, size, place, shape, texture of what is on the picture (what
                    differs from its rim or is not transparent), the columns of at most 20 values, and the `words` of
                    captions (or tags) that go most with the class on the share `chosen`, there or missing.
        usual(c)    on the share `chosen` of the items: the values that class c has more often than all items have.
        common(c)   the other items of c with such a value; counter(c): those with another value.
        drop        accuracy(common) - accuracy(counter), mean over classes by Mantel and Haenszel's weights.

    p is the larger of two: of the cue going with the class as `usual` says (Hoeffding's moments), and of the drop
    within classes (Mantel and Haenszel's test); of a cue from which fewer than five items differ, the first alone. What
    does not go with the class is no shortcut, however hard some of its values are. Without labels (pairs) there are no
    classes: the value whose items are found least often is chosen, and measured against all others on the rest.

    Use it to learn which cue a classifier or a search goes by. What goes with the class for a good reason (bananas
    are yellow) is reported too: whether a cue may be used is for you to say.

    Relations: `core.outcomes` says what is right: labels told by a ridge regression on the other folds, or own
    documents found. `re-context-bias` asks the same of pairs of attributes. Effective robustness, a line over many
    models, is left out: of two models `tellapart audit --against` compares every drop, item by item.

    Args:
        vectors: `document` [n, d] (and `k`, `q`, as `core.outcomes` takes them); `pictures`.
        by: the column of classes; columns: names with "|" between, in place of all columns of few values.
        items: above this many, so many are drawn; duplicates count once.

    Raises `DataError` for rows that do not match, no such column, and neither labels nor pairs.
    """
    x = matrix(vectors.get("document"), what="document")
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    if "pictures" not in vectors or len(vectors["pictures"]) != len(collection):
        raise DataError("as many pictures as items are needed: audit a collection of pictures")
    wanted = [name for name in columns.split("|") if name]
    if missing := [name for name in wanted if name not in collection.columns]:
        raise DataError(f"there is no column {missing[0]!r}; there are {', '.join(collection.columns)}")
    said = outcomes(vectors, collection, seed=seed, by="" if by == "label" else by, k=k)
    rng = np.random.default_rng(seed)
    at = one_of_each(said.groups)
    at = np.sort(rng.choice(at, items, replace=False)) if len(at) > items else at
    rows, right = said.rows[at], said.right[at]
    report = Report("Cues of pictures", facts={"seed": seed, "items": len(rows), "asked": said.asked})
    if len(rows) < _FEWEST:
        return report.add(Text(f"cannot tell: {len(rows)} items were asked about, {_FEWEST} are needed", "verdict"))
    others = of_columns(collection.take(rows), but=[by, "label"])
    others = [c for c in others if c.name in wanted] if wanted else others[:_COLUMNS]
    report.add(Figure("accuracy", float(right.mean()), count=len(rows), note="of the items drawn; no interval"))
    told = Asked(right, rng.random(len(rows)) < chosen, [str(collection.ids[r]) for r in rows])
    table: list[list[Any]] = []
    if said.truth is not None and said.said is not None:
        names, codes = np.unique([said.truth[i] for i in at] + [said.said[i] for i in at], return_inverse=True)
        told = replace(told, names=[str(n) for n in names], truth=codes[: len(at)], said=codes[len(at) :])
    for cue in [
        *picture_cues(vectors["pictures"], rows.tolist()),
        *others,
        *of_words(collection.take(rows), told, words),
    ]:
        found = of_pairs(cue, told, seed) if told.truth is None else of_classes(cue, told, table)
        report.add(*([] if found is None else [found]))
    if not report.findings():
        return report.add(Text("cannot tell: no cue has two values with five items or more each", "verdict"))
    if table:
        table.sort(key=lambda row: -row[-1])
        head = ["cue", "class", "usual", "common", "counter", "drop"]
        report.add(Table("Easy and hard groups", head, table[:_SHOWN], "accuracy of ten items or more a group"))
    return report
