"""Whether pictures of named things show those things, and whether they are mere copies of their references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import difference, mean_above
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._asked_scores import FEWEST, mean_of
from tellapart.parts.audit._fidelity import fidelity, flat, judged, nearer, nearest_of

_SHOWN = 12


@part(
    paper="Huang et al., KITTEN: A Knowledge-Integrated Evaluation of Image Generation on Visual Entities, TMLR 2026",
    place="audit",
    system="kitten",
    traits=("image", "asks"),
    aliases=("entity-fidelity",),
)
def kitten(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    entity: str = "label",
    reference: str = "reference",
    judge: str = "",
    tail: Annotated[float, Field(gt=0, le=0.2)] = 0.05,
    items: Annotated[int, Field(ge=60, le=100_000)] = 5000,
) -> Report:
    """Fidelity of pictures to references of what they should show, and, apart from it, copying.

    Formula, for a picture i of entity e with references R(e), u unit vectors of `image`, v unit vectors of `pixels`
    about the mean picture (of `image` where there are none):
        fidelity(i) = mean over r in R(e) of u_i . u_r;   right(i): it is greater than for every other entity;
        copy(i) = max over r in R(e) of v_i . v_r;
        copied(i) = mean over s in R(e) of [max over R(e) without s > limit];
        limit = the 1 - `tail` quantile of copy(r) of the references r, each among the others of its entity.
    So pictures and references are compared with as many references. Fidelity and copying are two figures: a copy is as
    faithful as can be. p of the copies: of each entity, how much more often a picture than a reference s is the nearer
    of both to the other references, and its sign dealt at random (five entities are needed to find any). p of what is
    not right compares with references, each judged by the others (Fisher's exact test).

    With a `judge` that sees, it is shown a reference and the picture: "Do both pictures show the same ENTITY?", and the
    share of its yes is a figure. Where `text` vectors of prompts are there, so is their mean cosine (following).

    Of the paper these are the metrics by models and by a judge; its entities, prompts and ratings of people cannot be
    had, so the entities are those of the collection.

    Use it on what a generator made, beside pictures of the real things. Without a column `reference`, the split `train`
    is what the other items are compared with: then it says whether held-out pictures are of the class that they name.

    Relations: `find copies` looks for copies between any two items; `gecko` asks what captions say.

    Args:
        vectors: `image` [n, d]; `pixels` [n, h, w] or [n, h, w, 3]; `text` [n, d]; `pictures` for the judge.
        entity: the column of what a picture should show.
        reference: the column that says "yes" (or 1) of references.
        judge: a spec, see `core.judging`; "" asks nobody.
        items: above this many pictures, so many are drawn.

    Raises `DataError` for no such column, rows that do not match or are not finite, or no references.
    """
    u = unit_rows(matrix(vectors.get("image"), what="image"))
    if len(u) != len(collection):
        raise DataError(f"{len(u)} vectors, {len(collection)} items: give as many")
    if entity not in collection.columns:
        raise DataError(f"there is no column {entity!r}: name what pictures should show, entity=…")
    if "pixels" in vectors and len(vectors["pixels"]) != len(u):
        raise DataError(f"{len(vectors['pixels'])} pictures in pixels, {len(u)} items: give as many")
    codes, names = collection.codes(entity)
    is_reference = _references(collection, reference) & (codes >= 0)
    counted = np.bincount(codes[is_reference], minlength=len(names))
    made = np.flatnonzero(~is_reference & (codes >= 0) & np.append(counted > 1, False)[codes])
    report = Report("Fidelity to references", facts={"seed": seed, "entities": int((counted > 1).sum())})
    if len(made) > items:
        made = np.sort(np.random.default_rng(seed).choice(made, items, replace=False))
    pairs = np.flatnonzero(is_reference & np.append(counted > 1, False)[codes])
    report.add(Figure("pictures", len(made), count=len(u), note="a count has no interval"))
    if min(len(made), len(pairs)) < FEWEST:
        few = f"{len(made)} pictures and {len(pairs)} references of entities that have two"
        return report.add(Text(f"cannot tell: {few}; {FEWEST} of each are needed", "verdict"))
    v = flat(vectors["pixels"]) if "pixels" in vectors else u
    known = np.flatnonzero(is_reference)
    own, right = fidelity(u, made, known, codes, len(names))
    _, right_known = fidelity(u, pairs, known, codes, len(names))
    (copy, second), (copy_known, _) = nearest_of(v, made, known, codes), nearest_of(v, pairs, known, codes)
    # Two references that are nearest to each other have one score, up to rounding.
    limit = float(np.quantile(copy_known, 1 - tail, method="higher")) + 1e-6
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(u))
    for name, values, least in (("fidelity", own, -1.0), ("right entity", right, 0.0), ("copy score", copy, -1.0)):
        report.add(mean_of(name, values, groups[made], seed, least))
    if "text" in vectors and np.shape(vectors["text"]) == np.shape(vectors["image"]):
        t = unit_rows(matrix(vectors["text"], what="text"))
        report.add(mean_of("following", np.einsum("nd,nd->n", t[made], u[made]), groups[made], seed, -1.0))
    if judge:
        report.add(*judged(vectors, collection, judge, made, known, codes, names, groups, seed))
    ids = [str(i) for i in collection.ids[made]]
    of, references = codes[made], counted[codes[made]]
    copied = ((references - 1) * (copy > limit) + (second > limit)) / references
    low = mean_of("copies", copied, groups[made], seed, 0.0)
    shown = [
        Example([ids[i]], f"nearest reference at {copy[i]:.3f}", (float(copy[i]),)) for i in np.argsort(-copy)[:_SHOWN]
    ]
    said = f"{copied.mean():.0%} are nearer to a reference than references are to each other ({tail:.0%} by chance)"
    more = nearer(v, made, pairs, codes)
    p = mean_above(more, np.arange(len(more)), seed=seed)
    report.add(Finding(low, said, p, "lower", ids, copied.tolist(), shown))
    both = np.concatenate([made, pairs])
    wrong = 1.0 - np.concatenate([right, right_known])
    gap = difference(wrong, np.arange(len(both)) < len(made), groups[both], seed=seed, alternative="greater")
    if gap is not None:
        figure = Figure("wrong entity, beyond references", gap.value, gap.low, gap.high, gap.inside + gap.outside)
        worst = [Example([ids[i]], f"fidelity {own[i]:.3f}", (float(own[i]),)) for i in np.argsort(own) if not right[i]]
        said = f"pictures are nearer to another entity {gap.value:.0%} more often than references are"
        report.add(Finding(figure, said, gap.p, examples=worst[:_SHOWN]))
    rows: list[list[Any]] = []
    for e in np.unique(of):
        rows.append([str(names[e]), int((of == e).sum()), *(float(x[of == e].mean()) for x in (own, right, copied))])
    worst_first = [rows[i] for i in np.argsort([row[3] for row in rows], kind="stable")[:_SHOWN]]
    return report.add(Table("Entities", ["entity", "pictures", "fidelity", "right", "copies"], worst_first))


def _references(collection: Collection, column: str) -> np.ndarray:
    if column in collection.columns:
        return np.array([str(v).strip().lower() in ("yes", "true", "1", "1.0") for v in collection.values(column)])
    if "split" not in collection.columns:
        raise DataError(f"say which items are references: a column {column!r} with yes or no, or reference=COLUMN")
    return np.array([v == "train" for v in collection.values("split")])
