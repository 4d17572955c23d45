"""Whether a picture and a condition in words find together what neither finds alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import wilson
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._conditions import TASKS, Episodes, episodes, places, tags
from tellapart.parts.audit._nearly_right import FEWEST, SHOWN, at_most, vectors_of

_MEND = "tellapart run {data} --set strategy=rtd"


@part(
    paper="Vaze, Carion, Misra: GeneCIS: A Benchmark for General Conditional Image Similarity, CVPR 2023",
    place="audit",
    system="genecis",
    traits=("image", "text-encoder"),
    aliases=("conditional-similarity",),
)
def genecis(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    attribute: str = "",
    thing: str = "",
    wrong: Annotated[int, Field(ge=1, le=50)] = 5,
    episodes_each: Annotated[int, Field(ge=20, le=5000)] = 150,
) -> Report:
    """What is found by a reference picture with a condition in words, by either alone, and by the sum of both.

    Formula: four tasks, {focus, change} x {attribute, thing}, on items that have a value of both, for reference (a, o):
        change: the words are a value a'; right is an item (a', o); wrong are `wrong` items (not a', o), which match the
            reference, and as many (a', not o), which match the words.
        focus: the words are the name of the tag ("color"); right is (a, not o); wrong are `wrong` items (not a, o), and
            as many with neither.
        The same with attribute and thing exchanged.
    Each gallery of 1 + 2 `wrong` has one right item, and the query is searched in it by cosine: image, the vector of
    the reference; words, that of the condition; sum, both added at unit length; composer, where `vectors` has one.
    R@k = share of episodes whose right item is among the first k (of ties it takes the middle place).

    A composed search is one that is right more often than picture and words alone, which a gallery of both kinds of
    wrong items keeps near 1 / (1 + `wrong`) or below. For each task of change a finding: R@1 of both (by the composer,
    or else the sum) less that of the picture alone; p is the exact chance of so few episodes in which both are right
    and the picture alone is not, among those in which they differ (binomial, 1/2). Words that make the search worse are
    a fault; that they do not help, or that the name of a tag says nothing to the model, is not, and the table says it.

    Taken: the tasks, galleries with both kinds of distractors and R@1 to 3. There attributes come from VAW, and objects
    from the scenes of COCO; here an item has one attribute and one thing, from columns or its caption, so that
    "object" is what the item is, not something else in its scene. Training, there a combiner on triples mined from
    captions, is here `rtd` or `spn4cir`.

    When to use: before "like this, but in red" is offered. Relations: `word-order` asks about captions alone.

    Args:
        vectors: `image` [n, d]; `text-encoder` into its space; `composer(reference, words)`, [n, d] both.
        attribute, thing: columns, both or neither; empty: the first adjective of the captions and the noun behind it.
        wrong: of each kind.
        episodes_each: at most so many a task.

    Raises `DataError` for one column without the other, unknown columns, or rows that do not match.
    """
    image = unit_rows(matrix(vectors.get("image"), what="image"))
    if "text-encoder" not in vectors or len(image) != len(collection):
        raise DataError(f"genecis needs an encoder of texts, and as many pictures ({len(image)}) as items")
    if bool(attribute) != bool(thing) or not {attribute, thing} <= {"", *collection.columns}:
        raise DataError(f"name two columns, attribute= and thing=, of {', '.join(collection.columns)}")
    rng = np.random.default_rng(seed)
    codes, values = tags(collection, attribute, thing)
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    report = Report("Conditional similarity", facts={"seed": seed, "tags": {n: len(v) for n, v in values.items()}})
    tagged = int(np.all([c >= 0 for c in codes.values()], axis=0).sum()) if len(collection) else 0
    report.add(Figure("items with both tags", tagged, count=len(collection), note="a count has no interval"))
    rows: list[list[Any]] = []
    for task in TASKS:
        for (name, wanted), kept in zip(codes.items(), reversed(codes.values()), strict=True):
            given = {"most": episodes_each, "wrong": wrong, "rng": rng}
            said = f"{task} {'attribute' if name == next(iter(codes)) else 'thing'}"
            drawn = (
                episodes(task, wanted, kept, name, values[name], groups, **given) if tagged else None  # type: ignore[arg-type]
            )
            if drawn is None or len(drawn.reference) < FEWEST:
                count = 0 if drawn is None else len(drawn.reference)
                report.add(Text(f"cannot tell: only {count} items can be references of '{said}'", "verdict"))
                continue
            t = vectors_of(vectors["text-encoder"], drawn.words, image.shape[1])
            r = image[drawn.reference]
            queries = {"image": r, "words": t, "sum": r + t}
            if "composer" in vectors:
                queries["composer"] = np.asarray(vectors["composer"](r.astype(np.float32), t.astype(np.float32)))
            first: dict[str, np.ndarray] = {}
            for how, q in queries.items():
                place = places(np.einsum("nd,ngd->ng", q, image[drawn.gallery]))
                row: list[Any] = [said, how]
                for k in (1, 2, 3):
                    hit = (place <= k).astype(float)
                    ends = wilson(float(hit.mean()), len(hit))
                    row.append(Figure(f"R@{k}, {said}, {how}", float(hit.mean()), *ends, count=len(hit)))
                first[how] = (place <= 1).astype(float)
                report.add(*row[2:])
                rows.append(row)
            if task == "change":
                report.add(_finding(said, first, place, drawn, collection, seed))
    note = f"galleries of {1 + 2 * wrong}: by chance R@1 is {1 / (1 + 2 * wrong):.2f}"
    return report.add(Table("Found by", ["task", "query", "R@1", "R@2", "R@3"], rows, note))


def _finding(
    task: str, first: Mapping[str, np.ndarray], place: np.ndarray, drawn: Episodes, collection: Collection, seed: int
) -> Finding:
    """Whether reference and words together find less than the reference alone."""
    hit = list(first.values())[-1]
    gain = hit - first["image"]
    p = at_most(int((gain > 0).sum()), int((gain != 0).sum()), 0.5)
    ends = redraw.interval(redraw.mean(gain), np.arange(len(gain)), seed=seed, ends=(-1.0, 1.0))
    said = (
        f"With a picture and the words of '{task}' the right item is first in {hit.mean():.0%} of the cases; with the "
        f"picture alone in {first['image'].mean():.0%}, with the words alone in {first['words'].mean():.0%}."
    )
    shown = [
        Example(
            [str(collection.ids[i]) for i in (drawn.reference[n], drawn.gallery[n, 0])],
            f"'{drawn.words[n]}': the right one is in place {place[n]:g} of {drawn.gallery.shape[1]}",
            names=("reference", "right"),
        )
        for n in np.argsort(-place, kind="stable")[:SHOWN]
        if place[n] > 1
    ]
    figure = Figure(task, float(gain.mean()), *ends, count=len(gain), note="R@1 less that of the picture alone")
    ids = [str(i) for i in collection.ids[drawn.reference]]
    mend = _MEND if "text" in collection.columns else ""
    return Finding(figure, said, p, "higher", ids, gain.tolist(), shown, mend)
