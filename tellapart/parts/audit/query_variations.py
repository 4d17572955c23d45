"""Whether a search finds the same when a query is written otherwise: capitals, accents, a spelling mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above, wilson
from tellapart.core.collection import Collection
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._queries import FEWEST, SHOWN, Search, search
from tellapart.parts.audit._query_forms import WAYS

_MENDS = {
    "a spelling mistake": "tellapart run {data} --set strategy=two-tower --set 'augment=spoil-row(drop=0.0)'",
}


@part(
    paper="Penha, Camara, Hauff: Evaluating the Robustness of Retrieval Pipelines with Query Variation Generators, "
    "ECIR 2022; Zhuang, Zuccon: Dealing with Typos for BERT-based Passage Retrieval and Ranking, EMNLP 2021",
    place="audit",
    traits=("k", "text-encoder"),
    aliases=("typos", "query-robustness"),
)
def query_variations(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    but: str = "",
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=20, le=20_000)] = 200,
    pool: Annotated[int, Field(ge=20, le=100_000)] = 2000,
) -> Report:
    """How many queries no longer find their document when they are written another way that means the same.

    Formula: found(q) = 1 where fewer than `k` wrong documents score above the query's own, otherwise 0; of a way w

        drop(w) = mean over the queries that w changes of found(q) - found(w(q)).

    Ways: `capitals` and `small letters`; `no accents` (marks on Latin and Greek letters taken off); `no punctuation`;
    `no small words` (English); `a spelling mistake`: in one word of four letters or more, a letter that is not its
    first is left out, doubled, made another of the query's letters, or exchanged with the next, each as likely.

    A way is asked about where it changes 20 queries; queries are the items' own texts. p is the chance of as large a
    drop where being changed says nothing (signs drawn anew), so that it is of the queries that change from found to not
    found and back. What was taken: paired changes of form, and typing mistakes of one letter. The papers' paraphrases
    need a language model, and their typing mistakes know a keyboard, which depends on the country.

    When to use: before people type what a search was trained on as captions. Every encoder that reads pieces of words
    loses something by a spelling mistake; by how much is what this says.

    In our record the planted way always comes first, where the one whose vectors move farthest is the planted one in a
    quarter to a third of the cases: a form can move all vectors alike and cost nothing.

    Relations: `shuffled-words` moves words, `query-length` cuts them off. `spoil-row` trains on mistyped copies: on
    drawings and their names it halved the drop, by 3 to 4 of 100 queries more found mistyped and 1 or 2 fewer as they
    are (one training each with it and without).

    Args:
        vectors: `k` [n, d]; `text-encoder`, or `encoder` where both sides are texts.
        but: ways to leave out, with "|" between.
        items: above this many queries, so many are drawn; pool: the same of documents.

    Raises `DataError` without texts and documents that they find, for rows that do not match, or values not finite.
    """
    held = search(vectors, collection, items=items, pool=pool, k=k, seed=seed)
    count, n = len(held.rows), len(held.pool)
    report = Report("Queries written otherwise", facts={"seed": seed, "queries": count, "documents": n, "k": k})
    if count < FEWEST:
        report.add(Figure("queries", count, count=len(collection), note="a count has no interval"))
        return report.add(
            Text(f"cannot tell: {count} queries with a text of their own, {FEWEST} are needed", "verdict")
        )
    as_asked = held.vectors(held.texts)
    plain = held.found(np.arange(count), as_asked)
    share = float(plain.mean())
    note = f"own document among the first {k} of {n}"
    report.add(Figure("found as they are", share, *wilson(share, count), count=count, note=note))
    left = [name for name in WAYS if name not in but.split("|")]
    rows: list[list[Any]] = []
    for number, name in enumerate(left):
        made = [WAYS[name](text, np.random.default_rng([seed, number, i])) for i, text in enumerate(held.texts)]
        which = np.flatnonzero([bool(m) and m != text for m, text in zip(made, held.texts, strict=True)])
        if len(which) < FEWEST:
            rows.append([name, len(which), None, None, None])
            continue
        q = held.vectors([made[i] for i in which])
        after, cosine = held.found(which, q), float(np.einsum("nd,nd->n", as_asked[which], q).mean())
        report.add(_finding(name, held, which, plain[which], after, made, collection, seed))
        rows.append([name, len(which), float(plain[which].mean()), float(after.mean()), cosine])
    if not report.findings():
        report.add(Text(f"cannot tell: no way changes {FEWEST} of {count} queries", "verdict"))
    head = ["written with", "queries changed", "found before", "found after", "cosine"]
    note = f"{FEWEST} changed queries are needed; cosine: mean, of the vectors of both forms"
    return report.add(Table("Queries written otherwise", head, rows, note))


def _finding(
    name: str, held: Search, which: np.ndarray, before: np.ndarray, after: np.ndarray, made: list[str],
    collection: Collection, seed: int,
) -> Finding:  # fmt: skip
    drop, each = before - after, np.arange(len(which))
    low, high = redraw.interval(redraw.mean(drop), each, seed=seed, draws=300, ends=(-1.0, 1.0))
    ids = [str(i) for i in collection.ids[held.rows[which]]]
    lost = [i for i in each if drop[i] > 0][:SHOWN]
    shown = [Example([ids[i]], f"not found as '{made[which[i]]}'", (), (held.texts[which[i]],)) for i in lost]
    said = (
        f"With {name}, {after.mean():.0%} of {len(which)} queries find their document among the first {held.k}; as "
        f"they are, {before.mean():.0%}."
    )
    figure = Figure(f"drop with {name}", float(drop.mean()), low, high, len(which))
    p = mean_above(drop, each, seed=seed)
    mend = _MENDS.get(name, "")
    return Finding(figure, said, p, ids=ids, values=drop.tolist(), examples=shown, mend=mend)
