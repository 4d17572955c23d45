"""Whether a model that is asked about one thing of a picture answers with what is true of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._nearly_right import at_most
from tellapart.parts.audit._two_things import attributes, beside, names, triples

_FEWEST, _SHOWN = 30, 12


@part(
    paper="Yamada, Tang, Zhang, Yildirim: When are Lemons Purple? The Concept Association Bias of Vision-Language "
    "Models, EMNLP 2023",
    place="audit",
    system="concept-association-bias",
    traits=("image", "pictures", "image-encoder", "text-encoder"),
    aliases=("cab",),
)
def concept_association_bias(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    objects: str = "",
    attribute: str = "",
    ask: str = "the {kind} of the {object} is {attribute}",
    pairs: Annotated[int, Field(ge=30, le=5000)] = 100,
) -> Report:
    """How often the attribute of the other thing is the answer, on pictures put together of two of the collection.

    Formula: for items A, B, C of three different attributes, B and C drawn alike, the picture is A beside B (which of
    them is on the left is drawn). The answer is the attribute a whose sentence, "the color of the A is a", has the
    greatest cosine with the picture, among all attributes. Then
        bias = mean over A of [answer is B's] - [answer is C's];
    C is not in the picture, and had the same chance to be: where the picture of B does not matter the mean is 0, and p
    is the exact chance of so many B among all answers that are B's or C's (binomial, 1/2). Beside it, how often the
    answer is A's: asked of A's own picture, and of the two.

    Taken: two things, a question about one of them, answers by cosine over the attribute words, and the comparison with
    third attributes. There 19 kinds of fruit and vegetables with a colour each are asked; here what the collection
    holds, with the attribute of a column, or the colour that most coloured pixels of the picture have. The published
    mitigation, a transformer above both encoders fine-tuned on questions, is not part of this.

    When to use: pictures with several things in them, before words such as "red" in a query are relied on. Where
    answers about single pictures are no better than chance, the model does not know the attribute, and no bias says
    that it binds it: the report says so.

    Relations: `word-order` asks whether a caption whose adjectives are exchanged is told.

    Args:
        vectors: `image` [n, d]; `pictures`; `image-encoder` and `text-encoder` into its space.
        objects: column of what things are called; empty: `text`, or else `label`. Colours are taken out of names.
        attribute: column; empty: the colour of the picture.
        ask: the sentence; {kind} is the name of the column, or "color".
        pairs: pictures that are put together, of as many different A.

    Raises `DataError` without names or that column, for a sentence without {object} and {attribute}, or for rows that
    do not match.
    """
    image = unit_rows(matrix(vectors.get("image"), what="image"))
    lacking = [name for name in ("pictures", "image-encoder", "text-encoder") if name not in vectors]
    name = objects or next((c for c in ("text", "label") if c in collection.columns), "")
    if lacking or name not in collection.columns or (attribute and attribute not in collection.columns):
        what = ", ".join(lacking) or f"a column {attribute or name or 'text'!r}"
        raise DataError(f"concept-association-bias needs {what}")
    if len(image) != len(collection) or len(vectors["pictures"]) != len(collection):
        raise DataError(f"{len(image)} vectors, {len(collection)} items: give as many")
    if "{object}" not in ask or "{attribute}" not in ask:
        raise DataError("ask must hold {object} and {attribute}, as in 'the {object} is {attribute}'")
    rng = np.random.default_rng(seed)
    rows, of, known = attributes(vectors["pictures"], collection, attribute, pairs, rng)
    called = names(collection.values(name), known)
    drawn = triples(rows, of, called, pairs, rng)
    report = Report("Concept association", facts={"seed": seed, "attributes": known, "pairs": len(drawn)})
    report.add(Figure("pictures put together", len(drawn), count=len(collection), note="a count has no interval"))
    if len(drawn) < _FEWEST:
        few = f"only {len(drawn)} pictures can be put together of {len(known)} attributes of {len(rows)} items"
        return report.add(Text(f"cannot tell whether attributes are bound: {few}, {_FEWEST} are needed", "verdict"))
    first, second, third = drawn.T
    made = [beside(vectors["pictures"], a, b, left=bool(rng.integers(2))) for a, b in zip(first, second, strict=True)]
    z = unit_rows(matrix(vectors["image-encoder"](made), dim=image.shape[1], what="pictures of two"))
    kind = attribute or "color"
    asked = [ask.format(kind=kind, object=called[row], attribute=a) for row in first for a in known]
    t = unit_rows(matrix(vectors["text-encoder"](asked), dim=image.shape[1], what="sentences"))
    t = t.reshape(len(first), len(known), -1)
    alone, answer = (np.einsum("nd,nkd->nk", x, t).argmax(axis=1) for x in (image[first], z))
    shares = {
        "right, alone": alone == of[first],
        "right, of two": answer == of[first],
        "the other's": answer == of[second],
        "a third one's": answer == of[third],
    }
    table: list[list[Any]] = []
    for what, hit in shares.items():
        ends = redraw.interval(redraw.mean(hit.astype(float)), np.arange(len(hit)), seed=seed)
        figure = Figure(what, float(hit.mean()), *ends, count=len(hit))
        table.append([what, figure])
        report.add(figure)
    other, absent = shares["the other's"], shares["a third one's"]
    bias = other.astype(float) - absent
    ends = redraw.interval(redraw.mean(bias), np.arange(len(bias)), seed=seed, ends=(-1.0, 1.0))
    shown = [
        Example(
            [str(collection.ids[first[i]]), str(collection.ids[second[i]])],
            f"asked about '{called[first[i]]}', the answer is {known[answer[i]]}",
            names=(called[first[i]], called[second[i]]),
        )
        for i in np.flatnonzero(other)[:_SHOWN]
    ]
    said = (
        f"Asked for the {kind} of one of two things, the model names the other's in {other.mean():.0%} of the cases, "
        f"and that of a thing that is not there in {absent.mean():.0%}."
    )
    told = int((bias > 0).sum()), int((bias != 0).sum())
    ids = [str(i) for i in collection.ids[first]]
    figure = Figure("the other's attribute", float(bias.mean()), *ends, count=len(bias))
    report.add(Finding(figure, said, at_most(told[1] - told[0], told[1], 0.5), "lower", ids, bias.tolist(), shown))
    chance = max(np.bincount(of[first]).max() / len(first), 1 / len(known))
    low = report.figure("right, alone").low
    if low is None or low <= chance:
        report.add(
            Text(f"cannot tell how attributes are bound: alone, the model is no better than {chance:.2f}", "warn")
        )
    return report.add(Table("Answers", ["what", "share"], table, f"{len(known)} attributes: {', '.join(known)}"))
