"""Whether a search by texts changes at all when the words of its queries are shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.parts.audit._nearly_right import ANY_SWAP, FEWEST, ORDERS, asked, finding, vectors_of, won

_LIKELY = ("anchor", "query", "question", "text")
_ANSWERS = ("positive", "document", "answer", "text")


@part(
    paper="Yuksekgonul, Bianchi, Kalluri, Jurafsky, Zou: When and Why Vision-Language Models Behave like "
    "Bags-of-Words, and What to Do About It?, ICLR 2023",
    place="audit",
    system="negclip-aro",
    traits=("encoder",),
)
def shuffled_words(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    queries: str = "",
    documents: str = "",
    enough: Annotated[float, Field(gt=0.5, lt=1)] = 0.75,
    items: Annotated[int, Field(ge=20, le=20_000)] = 300,
) -> Report:
    """What is left of a search by texts when the words of the queries stand in another order.

    Formula: R@1 = mean over queries of [own document is the nearest by cosine] / number that tie, among the documents
    of the queries that are asked; once with the queries as they are, once for each of the four shuffles of
    `word-order` and for two words of one kind exchanged. A query that a way leaves as it is counts as it is. Beside it
    `own document nearer`: how often the query is nearer to its document than its shuffled form (all ways together).

    A search that is as good with shuffled queries does not use their order, and needs none on these queries: that is no
    fault by itself, and no proof that order is read where it matters. The finding is about `own document nearer`: p is
    the exact binomial chance of so few where `enough` of all are.

    When to use: before a text encoder is taken for questions in which order matters ("A causes B"), and beside any
    benchmark of retrieval, to see what it asks for. The retrieval check of the paper, there with captions and pictures.

    In our record R@1 of MiniLM falls by 1 to 3 points of 56 (glosses) and 61 (docstrings), whichever way words move.

    Relations: `word-order` asks about captions of pictures; `swap-words` with `negclip` trains against it.

    Args:
        vectors: `encoder` gives `query(texts)` and `document(texts)`, [n, d].
        queries, documents: columns; empty: `anchor` and `positive`, or `text` as both.
        enough: share of right answers with which nothing is wrong.
        items: above this many, so many are drawn, of the split `test` where there is one.

    Raises `DataError` without an encoder, without a column of texts, or for vectors that are not finite [n, d].
    """
    encoder = vectors.get("encoder")
    if encoder is None:
        raise DataError("a text encoder is needed: shuffled-words asks a run whose sides are both texts")
    asking = _column(collection, queries, _LIKELY)
    answering = _column(collection, documents, _ANSWERS)
    ways = {**ORDERS, "two words of a kind exchanged": ANY_SWAP}
    told = asked(collection, asking, ways, most=items, rng=np.random.default_rng(seed))
    count = len(told.rows)
    report = Report("Shuffled words", facts={"seed": seed, "queries": count, "enough": enough})
    report.add(Figure("queries asked", count, count=len(collection), note="a count has no interval"))
    texts = collection.values(answering)
    found = np.asarray(encoder.document([str(texts[row] or "") for row in told.rows]), float)
    if found.ndim != 2 or len(found) != count or not np.isfinite(found).all():
        raise DataError(f"the encoder must give {count} finite vectors of the documents, not {found.shape}")
    if count < FEWEST:
        return report.add(Text(f"cannot tell: only {count} queries have three words or more", "verdict"))
    z = vectors_of(lambda t: found[: len(t)], [str(i) for i in range(count)], found.shape[1])
    q = vectors_of(encoder.query, told.texts, z.shape[1])
    own, plain = np.einsum("nd,nd->n", q, z), _first(q @ z.T)
    as_asked = _figure("R@1", plain, seed)
    report.add(as_asked)
    rows: list[list[Any]] = [["as they are", as_asked, None]]
    margins, moved_ones = [], []
    for way, made in told.made.items():
        moved = vectors_of(encoder.query, [m or t for m, t in zip(made, told.texts, strict=True)], z.shape[1])
        figure = _figure(f"R@1, {way}", _first(moved @ z.T), seed)
        report.add(figure)
        rows.append([way, figure, f"{np.einsum('nd,nd->n', q, moved).mean():.3f}"])
        there = [i for i, m in enumerate(made) if m is not None]
        margins += [(i, float(own[i] - moved[i] @ z[i])) for i in there]
        moved_ones += [(told.texts[i], str(made[i])) for i in there]
    note = "a query and its shuffled form: mean cosine of their vectors"
    report.add(Table("Queries with their words moved", ["queries", "R@1", "cosine"], rows, note))
    at, margin = np.array([i for i, _ in margins], int), np.array([m for _, m in margins])
    drawn = np.random.default_rng(seed).permutation(len(at))
    some = drawn[np.unique(at[drawn], return_index=True)[1]]  # one way a query
    if len(some) < FEWEST:
        return report.add(Text(f"cannot tell: the words of only {len(some)} queries can be moved", "verdict"))
    right = won(margin[some])
    said = (
        f"A query is nearer to its own document than the same words in another order in {right.mean():.0%} of the "
        "cases (a model that does not look at their order: 50%)."
    )
    ids, words = collection.ids[told.rows[at[some]]], [moved_ones[i] for i in some]
    mend = "tellapart run {data} --set strategy=negclip --set augment=swap-words"
    name = "own document nearer"
    return report.add(finding(name, said, right, margin[some], ids, words, enough=enough, seed=seed, mend=mend))


def _first(scores: np.ndarray) -> np.ndarray:
    """[n] 1 where a row's own column is the greatest, its share of those that tie, or 0."""
    own = np.diag(scores)[:, None]
    ahead, tied = (scores > own + 1e-6).sum(1), (np.abs(scores - own) <= 1e-6).sum(1)
    return np.where(ahead == 0, 1 / np.maximum(tied, 1), 0.0)


def _figure(name: str, hit: np.ndarray, seed: int) -> Figure:
    return Figure(name, float(hit.mean()), *redraw.interval(redraw.mean(hit), np.arange(len(hit)), seed=seed), len(hit))


def _column(collection: Collection, named: str, likely: tuple[str, ...]) -> str:
    able = [name for name in ([named] if named else likely) if name in collection.columns]
    if not able:
        raise DataError(f"there is no column {named or 'of texts'}: name one of {', '.join(collection.columns)}")
    return able[0]
