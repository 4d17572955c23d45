"""Words of captions that a class is told by though they are not the class: with them it is told right, without not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.cues import one_of_each
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.outcomes import outcomes
from tellapart.core.parts import part
from tellapart.core.phrases import Phrases, phrases_of
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.core.tagging import words_of
from tellapart.parts.audit._group_mend import group_mend

_TEXTS, _NEEDED, _SHOWN, _KEPT = ("caption", "text", "positive", "anchor"), 60, 12, 3


@part(
    paper="Zhao, Kumano, Yamasaki: Language-guided Detection and Mitigation of Unknown Dataset Bias, 2024 "
    "(arXiv 2406.02889)",
    place="audit",
    system="bias-keywords",
    traits=("document",),
    aliases=("keyword-bias",),
)
def bias_keywords(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    captions: str = "",
    low: Annotated[float, Field(ge=0, le=0.5)] = 0.05,
    high: Annotated[float, Field(ge=0.5, le=1)] = 0.98,
    longest: Annotated[int, Field(ge=1, le=3)] = 1,
    most: Annotated[int, Field(ge=1, le=200)] = 20,
    items: Annotated[int, Field(ge=60, le=100_000)] = 4000,
) -> Report:
    """Words that part of a class's captions have, go with the class, and decide whether it is told right.

    Formula. Items are dealt to two halves, duplicates once. On the first, for each of the `most` largest classes c:

        partial   words that more than `low` and less than `high` of the captions of c have: one that nearly all have is
                  the class itself, one that nearly none has says nothing. Words of class names are left out.
        keyword   of these the one whose log odds in c against the other classes are highest (`core.phrases`).

    On the second half: gap(c) = accuracy(items of c with the keyword) - accuracy(items of c without). p is the larger
    of two exact ones (Fisher): of that gap, and of the keyword going with the class. A keyword that goes with its class
    for a good reason and hides nothing has no gap.

    The paper captions all pictures with a model and lets a language model join the words of a class to opposite
    attributes; thresholds of occurrence are not given there. Here captions are the collection's, and the words of each
    class stand by themselves. Its first remedy, groups of (class, keyword) for Group-DRO, is `group-dro(keywords=...)`,
    with the words that the report's facts name; its second, generated pictures of the groups that are few, is not here.

    Use it where nobody knows what a classifier goes by, and captions tell more than labels do.

    Relations: `counteranimal` looks at pictures and columns, `set-differences` at all errors together.

    Args:
        vectors: `document` [n, d] (and `k`); by: the column of classes; captions: of texts.
        items: above this many, so many are drawn.

    Raises `DataError` for no such column, no captions, or fewer than two classes of five items.
    """
    x = matrix(vectors.get("document"), what="document")
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    if by not in collection.columns:
        raise DataError(f"keywords are of classes: name a column of labels, of {', '.join(collection.columns)}")
    said = next((c for c in ([captions] if captions else _TEXTS) if c in collection.columns), None)
    if said is None:
        raise DataError(f"there are no captions: name a column of texts, of {', '.join(collection.columns)}")
    told = outcomes(vectors, collection, seed=seed, by=by, most=items)
    at = one_of_each(told.groups)
    rows, right = told.rows[at], told.right[at]
    names, y = np.unique([(told.truth or [])[i] for i in at], return_inverse=True)
    report = Report("Keywords of classes", facts={"seed": seed, "items": len(rows)})
    report.add(Figure("accuracy", float(right.mean()), count=len(rows), note="of the items drawn; no interval"))
    if len(rows) < _NEEDED:
        return report.add(Text(f"cannot tell: {len(rows)} items were asked about, {_NEEDED} are needed", "verdict"))
    texts = collection.take(rows).values(said)
    first = np.random.default_rng(seed).random(len(rows)) < 0.5
    found = phrases_of(texts, longest=longest, least=5)
    own = {word.lower() for name in names for word in words_of(str(name))}
    ids, keywords = [str(i) for i in collection.ids[rows]], list[tuple[float, str]]()
    table: list[list[Any]] = []
    for c in np.argsort(-np.bincount(y), kind="stable")[:most]:
        for place, i in enumerate(_keywords(found, y == c, first, own, low, high)):
            made = _finding(str(names[c]), found.names[i], found.has(i), y == c, right, first, ids, seed)
            if made is None:
                continue
            share = [float(found.has(i)[side].mean()) for side in (y == c, y != c)]
            table.append([str(names[c]), found.names[i], *share, made.figure, made.p])
            if place == 0:
                report.add(made)
                keywords.append((made.p, found.names[i]))
    if not report.findings():
        return report.add(Text("cannot tell: no class has a word that five items have and five have not", "verdict"))
    report.facts["keywords"] = named = "|".join(dict.fromkeys(word for _, word in sorted(keywords)))
    mend = group_mend(collection, by, "keywords", named)
    report.blocks = [replace(b, mend=mend) if isinstance(b, Finding) else b for b in report.blocks]
    head = ["class", "word", "share of the class", "of the others", "accuracy with less without", "p"]
    table.sort(key=lambda row: row[-1])
    return report.add(Table("Words that go with a class", head, table[: 2 * _SHOWN], "p is of each alone"))


def _keywords(found: Phrases, mine: np.ndarray, first: np.ndarray, own: set[str], low: float, high: float) -> list[int]:
    """The words of partial occurrence in a class that go with it most, on the first half."""
    odds, size = found.odds(mine, first), max(1, int((mine & first).sum()))
    share = np.array([(mine & first)[rows].sum() / size for rows in found.rows])
    kept = [i for i in np.argsort(-odds, kind="stable") if low < share[i] < high and odds[i] > 0]
    return [int(i) for i in kept if not own & set(found.names[i].split())][:_KEPT]


def _finding(
    name: str, word: str, has: np.ndarray, mine: np.ndarray, right: np.ndarray, first: np.ndarray, ids: list[str],
    seed: int,
) -> Finding | None:  # fmt: skip
    """What hangs on a word in a class, on the second half; None where fewer than five items have it, or have it not."""
    rows = np.flatnonzero(mine & ~first)
    gap = difference(right[rows], has[rows], rows, seed=seed, alternative="greater")
    every = np.flatnonzero(~first)
    goes = difference(has[every].astype(float), mine[every], every, seed=seed, alternative="greater")
    if gap is None or goes is None:
        return None
    said = (
        f"Items of {name} whose caption lacks {word!r} are told right {abs(gap.value):.0%} "
        f"{'less' if gap.value >= 0 else 'more'} often than those that have it ({gap.outside} against {gap.inside})."
    )
    wrong = [r for r in rows if not has[r] and not right[r]][:_SHOWN]
    figure = Figure(f"keyword of {name}", gap.value, gap.low, gap.high, len(rows))
    return Finding(
        figure, said, max(gap.p, goes.p), ids=[ids[r] for r in rows], values=gap.parts.tolist(),
        examples=[Example([ids[r]], f"{name} without {word!r}, told wrong") for r in wrong],
    )  # fmt: skip
