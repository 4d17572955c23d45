"""How diverse the items of a concept are, attribute by attribute, and which value is nearly always the one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import at_most, wilson
from tellapart.core.collection import Collection
from tellapart.core.cues import Cue, of_columns, one_of_each
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._attributes import answered, entropy, of_lists

_SHOWN, _FOUND = 12, 30


@part(
    paper="Rassin, Slobodkin, Ravfogel, Elazar, Goldberg: GRADE: Quantifying Sample Diversity in Text-to-Image Models, "
    "2024 (arXiv 2410.22592)",
    place="audit",
    system="grade",
    traits=("document",),
    aliases=("grade",),
)
def diversity(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    concept: str = "label",
    columns: str = "",
    judge: str = "columns",
    probe: bool = False,
    default: Annotated[float, Field(ge=0.5, lt=1)] = 0.8,
    least: Annotated[int, Field(ge=5, le=10_000)] = 30,
    most: Annotated[int, Field(ge=1, le=200)] = 20,
    k: Annotated[int, Field(ge=2, le=1000)] = 10,
    items: Annotated[int, Field(ge=60, le=1_000_000)] = 20_000,
) -> Report:
    """The normalised entropy of each attribute among the items of each concept, and the values that are their default.

    Formula, for concept c and attribute a with K values, of which the share p_v of the items of c has value v:

        diversity(c, a) = -sum_v p_v log p_v / log K,    0: all alike, 1: all values equally often

    and the mean over concepts with `least` items, with an interval by drawing concepts. A value is a default of c where
    its share is above `default`; p is the exact binomial chance of so many items with it where its share is `default`.
    An attribute that has one such value in all other items says nothing of c and is left out of its findings. Entropy
    of few items is too low on average, about (K - 1) / (2 n log K).

    Who answers: columns of few values, and empty cells are left out; with `probe` a ridge regression of vectors that
    was fitted on the other items answers for them; with `judge`, whatever stands behind its spec is asked about the
    item's picture instead (`core.judging`; what is none of the values is not counted).

    With vectors `q` and `k` of one space, also the diversity of lists: the mean over queries of that of the first `k`
    documents by cosine, beside that of as many drawn from all. The paper measures generated pictures of prompts that
    leave attributes open, a language model writes attributes and values, and one that sees answers. Given a collection
    of generated pictures with their prompt as `concept`, this part does the rest.

    Use it before a collection is trained on, and on what a generator made: what a concept always is, is learnt.

    Relations: `slices` says whom a model serves worse, `rare-looks` finds looks that are rare without attributes.

    Args:
        vectors: `document` [n, d]; `q`, `k` for lists; `pictures` for a judge.
        concept: the column of concepts; columns: attributes, with "|" between ("": all of few values).

    Raises `DataError` for rows that do not match and columns that are not there.
    """
    x = matrix(vectors.get("document"), what="document")
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    wanted = [name for name in columns.split("|") if name]
    if missing := [name for name in (concept, *wanted) if name not in collection.columns]:
        raise DataError(f"there is no column {missing[0]!r}; name one of {', '.join(collection.columns)}")
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    rows = one_of_each(groups)
    rows = rows if len(rows) <= items else np.sort(np.random.default_rng(seed).choice(rows, items, replace=False))
    held = collection.take(rows)
    of, names = held.codes(concept)
    cues = [c for c in of_columns(held, but=[concept]) if not wanted or c.name in wanted]
    cues = [answered(c, x[rows], vectors, rows, collection, judge, probe=probe) for c in cues]
    size = np.bincount(of[of >= 0], minlength=len(names))
    large = [int(c) for c in np.argsort(-size, kind="stable") if size[c] >= least]
    report = Report("Diversity of concepts", facts={"seed": seed, "items": len(rows), "concepts": len(large)})
    report.add(Figure("concepts", len(large), count=max(1, len(names)), note="a count has no interval"))
    if not cues or not large:
        return report.add(Text(f"cannot tell: no concept with {least} items, or no attribute of few values", "verdict"))
    table: list[list[Any]] = []
    found: list[Finding] = []
    for cue in cues:
        values = np.array([entropy(cue.codes[of == c], len(cue.values)) for c in large])
        mean = redraw.interval(redraw.mean(values), np.arange(len(large)), seed=seed)
        note = "" if mean[0] is not None else "fewer than ten concepts: no interval"
        report.add(Figure(f"diversity of {cue.name}", float(values.mean()), *mean, len(large), note=note))
        for c, value in zip(large, values, strict=True):
            table.append([str(names[c]), cue.name, int(size[c]), float(value)])
            if c in large[:most]:
                found += _finding(str(names[c]), cue, of == c, default, least, [str(i) for i in held.ids])
        report.add(*of_lists(cue, vectors, rows, k, seed))
    table.sort(key=lambda row: row[-1])
    report.add(*sorted(found, key=lambda f: -f.figure.count)[:_FOUND])
    return report.add(Table("The least diverse", ["concept", "attribute", "items", "diversity"], table[:most]))


def _finding(name: str, cue: Cue, mine: np.ndarray, default: float, least: int, ids: list[str]) -> list[Finding]:
    """Whether one value of an attribute is the default of a concept; nothing where it is that of all others too."""
    rows, others = (np.flatnonzero(side & (cue.codes >= 0)) for side in (mine, ~mine))
    if len(rows) < least or len(others) < least:
        return []
    count = np.bincount(cue.codes[rows], minlength=len(cue.values))
    value, n = int(count.argmax()), len(rows)
    if (cue.codes[others] == value).mean() >= default:
        return []
    share = float(count[value] / n)
    said = f"{share:.0%} of the {n} items of {name} have the {cue.name} {cue.values[value]}."
    p = at_most(n - int(count[value]), n, 1 - default)
    shown = [Example([ids[r]], f"{name} with another {cue.name}") for r in rows if cue.codes[r] != value][:_SHOWN]
    has = (cue.codes[rows] == value).astype(float)
    figure = Figure(f"default {cue.name} of {name}", share, *wilson(share, n), n)
    return [Finding(figure, said, p, ids=[ids[r] for r in rows], values=has.tolist(), examples=shown)]
