"""How two sets of items differ, in words: what a model gets wrong and what it gets right, or any two sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tellapart.core.broader import broader_terms
from tellapart.core.chance import holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.phrases import Phrases, phrases_of
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._two_sets import apart, auroc, two_sets

_TEXTS, _NEEDED, _PROPOSED, _SHOWN = ("text", "caption", "positive", "anchor"), 20, 20, 12
_SPACES = ("image", "text")


@part(
    paper="Dunlap, Zhang, Wang, Zhong, Darrell, Steinhardt, Gonzalez, Yeung-Levy: Describing Differences in Image Sets "
    "with Natural Language, CVPR 2024",
    place="audit",
    system="visdiff",
    traits=("document",),
    aliases=("visdiff", "set-difference-captioning"),
)
def set_differences(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    column: str = "",
    a: str = "",
    b: str = "",
    by: str = "label",
    captions: str = "",
    rank: Literal["captions", "vectors"] = "captions",
    tested: Annotated[int, Field(ge=1, le=20)] = 5,
    least: Annotated[int, Field(ge=2, le=1000)] = 4,
    longest: Annotated[int, Field(ge=1, le=5)] = 3,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    items: Annotated[int, Field(ge=60, le=100_000)] = 4000,
) -> Report:
    """Phrases that are truer of one set of items than of another, with how well each tells them apart, and its chance.

    Formula. Items are dealt to two halves, duplicates once. On the first half,

        proposer   runs of up to `longest` words of the captions, and what these are kinds of (WordNet, where it is
                   installed), in `least` captions or more; the 20 whose log odds are highest (`core.phrases`).
        ranker     v(x, y) = cosine of the vectors of item x and phrase y (`vectors`), or whether the caption of x has y
                   (`captions`); score = AUROC of v between both sets. The best `tested` go on.

    and on the second half the AUROC of those, its 95% interval and p (a permutation test, or Fisher's). The table is in
    the order of the AUROC of all items, with Holm's p; the finding is of the phrase that the first half put first,
    which the second half has not chosen.

    Compared are what the model has wrong and right (`core.outcomes`), or, with `column`, its values `a` and `b` (`a`
    alone: against all others): `column='split', a='test', b='train'` says what is unlike in both. Of clustered items,
    such as a split that keeps whole groups together, p is too small: it takes items for independent of each other.

    In the paper a captioner and a language model propose, CLIP ranks, and p is of the images that phrases were proposed
    from (Welch's test). Here log odds of the captions propose, and p is of items that no phrase came from. Captions
    rank too unless `vectors` is asked for: small encoders are poor at broad phrases (see the evidence).

    Relations: `slices` asks the same of columns, `bias-keywords` of words within a class.

    Args:
        vectors: `document` [n, d]; for `vectors`, `text-encoder` and `image` or `text` [n, d] in its space.
        by: the column of classes; captions: the column of texts ("": `text`, `caption`, `positive` or `anchor`).
        items: above this many, so many are drawn.

    Raises `DataError` for no such column or value, no captions, no text encoder where one is asked for.
    """
    if len(matrix(vectors.get("document"), what="document")) != len(collection):
        raise DataError(f"as many vectors as items are needed: {len(collection)}")
    said = next((c for c in ([captions] if captions else _TEXTS) if c in collection.columns), None)
    if said is None:
        raise DataError(f"there are no captions: name a column of texts, of {', '.join(collection.columns)}")
    space = next((s for s in _SPACES if s in vectors), None) if rank == "vectors" else None
    if rank == "vectors" and (space is None or "text-encoder" not in vectors):
        raise DataError("this model encodes no texts beside the items: take rank='captions'")
    report = Report("Differences in words", facts={"seed": seed, "ranked by": "vectors" if space else "captions"})
    z = unit_rows(matrix(vectors[space], what=space)) if space else None
    name, rows, inside = two_sets(vectors, collection, column, a, b, by, k, seed)
    rng = np.random.default_rng(seed)
    at = np.sort(rng.permutation(len(rows))[:items])
    rows, inside = rows[at], inside[at]
    first = rng.random(len(rows)) < 0.5
    for side, what in ((inside, "first set"), (~inside, "second set")):
        report.add(Figure(f"items, {what}", int(side.sum()), count=max(1, len(rows)), note="a count has no interval"))
    if min(int((side & half).sum()) for side in (inside, ~inside) for half in (first, ~first)) < _NEEDED:
        counts = f"{int(inside.sum())} and {int((~inside).sum())} items"
        return report.add(Text(f"cannot tell {name}: {counts}, about {3 * _NEEDED} of each are needed", "verdict"))
    texts = collection.take(rows).values(said)
    found = phrases_of(texts, longest=longest, least=2 * least, broader=broader_terms())
    vector = None if z is None else (z[rows], vectors["text-encoder"])
    return report.add(*_told(name, found, inside, first, vector, [str(i) for i in collection.ids[rows]], tested, seed))


def _told(
    name: str,
    found: Phrases,
    inside: np.ndarray,
    first: np.ndarray,
    vector: Any,
    ids: list[str],
    tested: int,
    seed: int,
) -> list[Finding | Table | Text]:
    """The finding and the table."""
    odds = found.odds(inside, first)
    kept: dict[bytes, int] = {}  # of phrases in the same captions one is enough, rather of the captions, rather longer
    for i in sorted(np.flatnonzero(odds > 0), key=lambda i: (-odds[i], found.broader[i], -len(found.names[i]))):
        kept.setdefault(found.rows[i].tobytes(), int(i))
    chosen = list(kept.values())[:_PROPOSED]
    if not chosen:
        return [Text(f"cannot tell {name}: no phrase is in enough captions", "verdict")]
    values = np.stack([found.has(i).astype(float) for i in chosen], axis=1)
    if vector is not None:
        z, encode = vector
        values = z @ unit_rows(matrix(encode([found.names[i] for i in chosen]), dim=z.shape[1], what="phrases")).T
    before = np.array([auroc(v[first], inside[first]) for v in values.T])
    order = np.argsort(-before, kind="stable")[:tested]
    rows, told = [], []
    for place in order:
        ends, p, parts = apart(values[~first, place], inside[~first], shares=vector is None, seed=seed)
        share = [float(found.has(chosen[place])[side].mean()) for side in (inside, ~inside)]
        figure = Figure(f"words: {name}", *ends, int((~first).sum()))
        rows.append([found.names[chosen[place]], *share, auroc(values[:, place], inside), figure])
        told.append((p, parts))
    corrected = holm([p for p, _ in told])
    (p, parts), words, figure = told[0], rows[0][0], rows[0][-1]
    sentence = f"Of {name}, {words!r} tells the first: in {rows[0][1]:.0%} of their captions against {rows[0][2]:.0%}."
    best = np.flatnonzero(inside)[np.argsort(-values[inside, order[0]], kind="stable")][:_SHOWN]
    finding = Finding(
        figure, sentence, p, ids=[ids[i] for i in np.flatnonzero(~first)], values=parts.tolist(),
        examples=[Example([ids[i]], words) for i in best if found.has(chosen[order[0]])[i] or vector is not None],
    )  # fmt: skip
    table = [[*row, float(p)] for row, p in zip(rows, corrected, strict=True)]
    table.sort(key=lambda row: -row[3])
    head = ["phrase", "captions with it", "of the others", "AUROC", "AUROC, second half", "p"]
    return [finding, Table(f"What {name} differ in", head, table, "p of the second half, corrected (Holm)")]
