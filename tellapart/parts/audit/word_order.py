"""Whether a picture's caption is told from the same words in another order, or with two of them exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.report import Figure, Report, Text
from tellapart.parts.audit._nearly_right import FEWEST, ORDERS, SWAPS, asked, finding, vectors_of, won

_MEND = "tellapart run {data} --set strategy=negclip --set augment=swap-words"


@part(
    paper="Yuksekgonul, Bianchi, Kalluri, Jurafsky, Zou: When and Why Vision-Language Models Behave like "
    "Bags-of-Words, and What to Do About It?, ICLR 2023",
    place="audit",
    system="negclip-aro",
    traits=("image", "text-encoder", "captions"),
    aliases=("aro",),
)
def word_order(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    column: str = "text",
    enough: Annotated[float, Field(gt=0.5, lt=1)] = 0.75,
    items: Annotated[int, Field(ge=20, le=20_000)] = 300,
) -> Report:
    """How often a picture is nearer to its caption than to the caption with its words moved.

    Formula: right = [cos(picture, caption) > cos(picture, moved)], 1/2 where they are equal; accuracy = mean over
    pictures; chance is 1/2. A caption is moved in six ways, as a tagger of lists and endings (`core/tagging.py`) takes
    its words, case and what stands between them left alone:
        order: nouns among the nouns' places and adjectives among theirs; all other words among theirs; runs of three
            words (trigrams) in another order; the words within each run in another order.
        relation, attribution: two nouns, or two adjectives, exchanged. Words joined by "and" or "or" are left alone.
    Captions that a way leaves as they are are not asked about by it.

    For each way a finding: p is the exact binomial chance of so few right ones where `enough` of all are. A model that
    does not look at the order of words is right in about half of all cases.

    Taken: the four shuffles and both exchanges, as the authors' code names them. There relation and attribution
    exchange the objects and attributes of annotated scenes, and order asks for one of five captions; here every
    way is a choice of two from the collection's own captions, tagged by lists instead of a trained tagger, so that some
    exchanges make no wrong caption ("a man beside a man's car").

    When to use: captions in which it matters who does what to whom, or which of two things is red. Where no two
    captions have the same words, a model that fails here may search as well as ever: `shuffled-words` says so of texts.

    In our record what it says from captions alone is within 4 points of how often known wrong captions are told, from
    which R@1 is 30 points away; a model whose captions are sums of words gets 1/2.

    Relations: `negclip` with `swap-words` trains against it; `degla` with wrong captions that are given.

    Args:
        vectors: `image` [n, d]; `text-encoder`, texts to [m, d] of the same space.
        column: of the captions.
        enough: share of right answers with which nothing is wrong.
        items: above this many, so many are drawn, of the split `test` where there is one.

    Raises `DataError` without captions, for rows that do not match, or vectors that are not finite.
    """
    image = unit_rows(matrix(vectors.get("image"), what="image"))
    encode = vectors.get("text-encoder")
    if encode is None or column not in collection.columns:
        raise DataError(f"word-order needs an encoder of texts and a column {column!r} of captions")
    if len(image) != len(collection):
        raise DataError(f"{len(image)} pictures, {len(collection)} items: give as many")
    told = asked(collection, column, ORDERS | SWAPS, most=items, rng=np.random.default_rng(seed))
    every = [text for texts in told.made.values() for text in texts if text is not None]
    z = vectors_of(encode, told.texts + every, image.shape[1])
    own, at = np.einsum("nd,nd->n", image[told.rows], z[: len(told.rows)]), len(told.rows)
    report = Report("Word order", facts={"seed": seed, "captions": len(told.rows), "enough": enough})
    report.add(Figure("captions asked about", len(told.rows), count=len(collection), note="a count has no interval"))
    for kind, texts in told.made.items():
        there = np.flatnonzero([text is not None for text in texts])
        moved, at = z[at : at + len(there)], at + len(there)
        if len(there) < FEWEST:
            few = f"only {len(there)} captions of three words or more can have {kind}"
            report.add(Text(f"cannot tell whether word order is read: {few}", "verdict"))
            continue
        margin = own[there] - np.einsum("nd,nd->n", image[told.rows[there]], moved)
        right = won(margin)
        words = [(told.texts[i], str(texts[i])) for i in there]
        said = (
            f"With its {kind}, a caption is told from the right one in {right.mean():.0%} of the cases "
            "(a model that does not look at the order of words: 50%)."
        )
        ids = collection.ids[told.rows[there]]
        report.add(finding(kind, said, right, margin, ids, words, enough=enough, seed=seed, mend=_MEND))
    return report
