"""Whether queries in another script, or another language, find less, and whether they are read at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import Difference, difference, wilson
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._queries import FEWEST, SHOWN, Search, script, search

_COLUMNS, _MOST = ("language", "lang", "locale"), 20


@part(
    paper="Zhang et al.: MIRACL: A Multilingual Retrieval Dataset Covering 18 Diverse Languages, TACL 2023; "
    "Enevoldsen et al., MMTEB: Massive Multilingual Text Embedding Benchmark, ICLR 2025",
    place="audit",
    traits=("k", "text-encoder"),
    aliases=("query-scripts",),
)
def query_languages(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    column: str = "",
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=60, le=100_000)] = 1000,
    pool: Annotated[int, Field(ge=60, le=100_000)] = 2000,
) -> Report:
    """How much less queries of each script, or each language that a column names, find than the others.

    Formula: found(q) = 1 where fewer than `k` wrong documents score above the query's own; of a group g of queries

        gap(g) = mean found(q) outside of g - mean found(q) in g,

    for groups with 20 queries and as many others, at most the 20 largest. Groups are the values of `column` (or of
    `language`, `lang`, `locale`, the first that is there), or else scripts: what most letters of a query are, as their
    Unicode names begin. p is Fisher's exact one of so large a gap; whoever reads the report corrects it for how many
    groups there are.

    alike(g) is the mean cosine between two queries of g. An encoder whose vocabulary lacks a script gives all that is
    written in it nearly one vector: a gap with `alike` near 1 says so, a gap without may come from what is asked in
    that language. The same queries in two languages, which would tell, are not to be had of a collection.

    When to use: where people ask in more than one language, before an encoder that was made for one is taken. Queries
    look among all documents; a language of many documents has more to be mistaken for, and may find less for that.

    In our record a script of which a third of the letters is not read is clear in nine of ten collections, and where
    all are read something is in 2 of 120; each share against that of all queries, uncorrected, in 19.

    Relations: `slices` asks the same of every column, and of labels; `query-variations` changes the form of a query.

    Args:
        vectors: `k` [n, d]; `text-encoder`, or `encoder` where both sides are texts.
        column: names the language of a query; items: above this many queries, so many are drawn; pool: of documents.

    Raises `DataError` without texts and documents that they find, for no such column, and rows that do not match.
    """
    if column and column not in collection.columns:
        raise DataError(f"there is no column {column!r}; there are {', '.join(collection.columns)}")
    held = search(vectors, collection, items=items, pool=pool, k=k, seed=seed)
    count, n = len(held.rows), len(held.pool)
    named = column or next((c for c in _COLUMNS if c in collection.columns), "")
    given = collection.values(named) if named else []
    groups = np.array([str(given[r] or "") if named else script(t) for r, t in zip(held.rows, held.texts, strict=True)])
    names, sizes = np.unique(groups, return_counts=True)
    able = [str(names[i]) for i in np.argsort(-sizes, kind="stable") if FEWEST <= sizes[i] <= count - FEWEST][:_MOST]
    facts = {"seed": seed, "queries": count, "documents": n, "k": k, "groups": named or "scripts"}
    report = Report("Languages of queries", facts=facts)
    note = "a count has no interval"
    report.add(Figure(named or "scripts", len(names), count=max(1, count), unit="values", note=note))
    if not able:
        what = f"value of {named}" if named else "script"
        few = f"{len(names)} in all, and no {what} has {FEWEST} of the {count} queries and leaves as many others"
        return report.add(Text(f"cannot tell: {few}", "verdict"))
    q = held.vectors(held.texts)
    found, rows = held.found(np.arange(count), q), []
    ids = collection.ids[held.rows]
    for name in able:
        inside = groups == name
        gap = difference(found, ~inside, np.arange(count), seed=seed, alternative="greater")
        shares = [_share(found[mine]) for mine in (inside, ~inside)]
        alike = [_alike(q[mine]) for mine in (inside, ~inside)]
        rows.append([name or "(none)", int(inside.sum()), *shares, *alike])
        if gap is not None:
            report.add(_finding(name or "(none)", gap, held, found, inside, alike, ids))
    head = [named or "script", "queries", "found", "found, others", "alike", "alike, others"]
    note = f"own document among the first {k} of {n}; alike: mean cosine between two queries"
    return report.add(Table("Found by language" if named else "Found by script", head, rows, note))


def _share(found: np.ndarray) -> Figure:
    return Figure("", float(found.mean()), *wilson(float(found.mean()), len(found)), count=len(found))


def _alike(q: np.ndarray) -> float:
    """The mean over pairs of different rows, of the sum alone."""
    n = len(q)
    return float((np.square(q.sum(axis=0)).sum() - np.square(q).sum()) / (n * (n - 1)))


def _finding(
    name: str, gap: Difference, held: Search, found: np.ndarray, inside: np.ndarray, alike: list[float], ids: np.ndarray
) -> Finding:
    much = f"{abs(gap.value):.0%} {'less' if gap.value > 0 else 'more'} often than" if gap.value else "as often as"
    said = (
        f"The {gap.outside} queries in {name} find their document {much} the others; two of them have a cosine of "
        f"{alike[0]:.2f} on average, two of the others {alike[1]:.2f}."
    )
    lost = [i for i in np.flatnonzero(inside) if not found[i]][:SHOWN]
    shown = [Example([str(ids[i])], f"a query in {name} that is not found", (), (held.texts[i],)) for i in lost]
    figure = Figure(f"queries in {name}", gap.value, gap.low, gap.high, len(found))
    parts = {"ids": [str(ids[i]) for i in gap.unit], "values": gap.parts.tolist()}
    return Finding(figure, said, gap.p, examples=shown, **parts)
