"""Whether short queries, or long ones, find less: those there are, and the same queries cut to fewer words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import Difference, difference, mean_above, wilson
from tellapart.core.collection import Collection
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._queries import FEWEST, NO_SPACES, SHOWN, Search, script, search

_LONGER = "tellapart run {data} --set text=parallel-windows"


@part(
    paper="Bailey, Moffat, Scholer, Thomas: UQV100: A Test Collection with Query Variability, SIGIR 2016; Thakur, "
    "Reimers, Rueckle, Srivastava, Gurevych: BEIR, NeurIPS Datasets and Benchmarks 2021",
    place="audit",
    traits=("k", "text-encoder"),
)
def query_length(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=60, le=20_000)] = 300,
    pool: Annotated[int, Field(ge=60, le=100_000)] = 2000,
) -> Report:
    """How much less the shortest queries find, and the longest, and how much of that is their length itself.

    Formula: w(q) is the number of words, s and l the thirds of it, found(q) = 1 where fewer than `k` wrong documents
    score above the query's own:

        short queries = mean found(q), w > s  -  mean found(q), w <= s
        long queries  = mean found(q), w <= l -  mean found(q), w > l
        cut(c)        = mean over queries with w > c of found(q) - found(the first c words of q).

    Short and long queries ask for other things, so that a difference need not come from the length. A finding is
    called sure only where the same queries say so too: p is the larger of that of the difference (Fisher's exact one)
    and that of the cut, for `short queries` of as large a loss of the longer ones at c = s, for `long queries` of as
    large a gain of theirs at c = l. Where that cut leaves nothing to compare, p is 1. The table says what is found by
    thirds, and what the longer ones would find cut to as many words: what is then left of the gap is no matter of
    length.

    Where most letters are of scripts without spaces (Chinese, Japanese, Thai), characters are counted, not words.
    Queries are the items' own texts; that they are cut at the end says nothing of better short ones.

    When to use: where people ask in two words for what was trained by sentences, or paste paragraphs. Queries of which
    the encoder does not read the end are counted where it says so.

    In our record a planted length is clear in 37 of 40 collections of each kind of text, and one is in 1 or 2 of 40
    where the short, or long, queries are hard for other reasons; by the gap alone these are called in 38 to 40.

    Relations: `longembed` asks the same of documents, by keys at known depths; `query-variations` changes the form of
    queries; `slices` compares groups of any column.

    Args:
        vectors: `k` [n, d]; `text-encoder`, or `encoder` where both sides are texts.
        items: above this many queries, so many are drawn; pool: the same of documents.

    Raises `DataError` without texts and documents that they find, for rows that do not match, or values not finite.
    """
    held = search(vectors, collection, items=items, pool=pool, k=k, seed=seed)
    count, n = len(held.rows), len(held.pool)
    report = Report("Length of queries", facts={"seed": seed, "queries": count, "documents": n, "k": k})
    spaced = sum(script(text) not in NO_SPACES for text in held.texts) * 2 >= count
    unit = "words" if spaced else "characters"
    size = np.array([len(t.split() if spaced else t) for t in held.texts], int)
    s, most = (int(v) for v in np.quantile(size, [1 / 3, 2 / 3], method="lower")) if count else (0, 0)
    able = {"short": _enough(size <= s), "long": _enough(size > most)}
    if count < 3 * FEWEST or not any(able.values()):
        report.add(Figure("queries", count, count=len(collection), note="a count has no interval"))
        why = f"{count} queries of {len(np.unique(size))} lengths; {3 * FEWEST} are needed, with {FEWEST} short or long"
        return report.add(Text(f"cannot tell: {why}", "verdict"))
    reader = vectors.get("encoder", vectors.get("text-encoder"))
    before = _cut(reader)
    q = held.vectors(held.texts)
    unread, found = _cut(reader) - before, held.found(np.arange(count), q)
    report.add(_figure(f"found, {unit}: any number", found, f"own document among the first {k} of {n}"))
    ids = [str(i) for i in collection.ids[held.rows]]
    cells: list[list[Any]] = []
    for name, c in (("short", s), ("long", most)):
        inside = size <= c if name == "short" else size > c
        if not able[name]:
            report.add(Text(f"cannot tell about {name} queries: fewer than {FEWEST} are, or are not", "verdict"))
            continue
        longer = np.flatnonzero(size > c)
        cut = held.found(longer, held.vectors([_first(held.texts[i], c, spaced) for i in longer]))
        lost = found[longer] - cut
        gap = difference(found, ~inside, np.arange(count), seed=seed, alternative="greater")
        paired = mean_above(lost if name == "short" else -lost, longer, seed=seed)
        cells.append(
            [f"at most {c} {unit}", _figure("", found[size <= c]), _figure("", found[longer]), float(cut.mean())]
        )
        if gap is not None:
            mend = _LONGER if name == "long" and unread else ""
            report.add(_finding(name, f"{c} {unit}", gap, paired, held, found, inside, cut, ids, mend))
    if unread:
        report.add(Text(f"{unread} of {count} queries are longer than is read: their end is cut off", "warn"))
    head = ["queries of", "found", "longer ones", "the longer ones cut to that"]
    return report.add(Table("Found by length", head, cells, f"share with the own document among the first {k} of {n}"))


def _enough(some: np.ndarray) -> bool:
    return bool(FEWEST <= some.sum() <= len(some) - FEWEST)


def _first(text: str, c: int, spaced: bool) -> str:
    return " ".join(text.split()[:c]) if spaced else text[:c]


def _cut(reader: Any) -> int:
    """How many texts were longer than is read so far, where the encoder counts them."""
    return int(getattr(reader, "cut", getattr(getattr(reader, "encoder", None), "truncated_", 0)))


def _figure(name: str, found: np.ndarray, note: str = "") -> Figure:
    return Figure(name, float(found.mean()), *wilson(float(found.mean()), len(found)), count=len(found), note=note)


def _finding(
    name: str, size: str, gap: Difference, paired: float, held: Search, found: np.ndarray, inside: np.ndarray,
    cut: np.ndarray, ids: list[str], mend: str,
) -> Finding:  # fmt: skip
    of, others = ("at most", "longer ones") if name == "short" else ("more than", "shorter ones")
    much = f"{abs(gap.value):.0%} {'less' if gap.value > 0 else 'more'} often than" if gap.value else "as often as"
    whole = found[~inside if name == "short" else inside].mean()
    said = (
        f"Queries of {of} {size} find their document {much} {others}; the same longer queries find it in "
        f"{whole:.0%} of the cases whole, in {cut.mean():.0%} cut to {size}."
    )
    shown = [i for i in np.flatnonzero(inside) if not found[i]][:SHOWN]
    examples = [Example([ids[i]], f"a {name} query that is not found", (), (held.texts[i],)) for i in shown]
    figure = Figure(f"{name} queries", gap.value, gap.low, gap.high, len(found))
    parts = {"ids": [ids[i] for i in gap.unit], "values": gap.parts.tolist()}
    return Finding(figure, said, max(gap.p, paired), examples=examples, mend=mend, **parts)
