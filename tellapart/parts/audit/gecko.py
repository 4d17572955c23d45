"""Whether pictures show what their captions say, asked question by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.judging import COLUMNS, open_judge
from tellapart.core.parts import part
from tellapart.core.questions import Question
from tellapart.core.report import Example, Examples, Report, Text
from tellapart.parts.audit._asked_scores import FEWEST, mean_of, ratings_of, skill_of
from tellapart.parts.audit._caption_questions import Asked, asked_by_rules, asked_in_words, groundable, values_of

_SHOWN = 12


@part(
    paper="Wiles et al., Revisiting Text-to-Image Evaluation with Gecko: On Metrics, Prompts, and Human Ratings, "
    "ICLR 2025",
    place="audit",
    system="gecko",
    traits=("asks",),
    aliases=("asked-captions",),
)
def gecko(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    judge: str = "columns",
    writer: str = "",
    columns: str = "",
    text: str = "text",
    rated: str = "",
    choices: Annotated[int, Field(ge=2, le=20)] = 8,
    items: Annotated[int, Field(ge=30, le=100_000)] = 1000,
) -> Report:
    """How much of what captions say a judge finds in the pictures, by what kind of thing is said.

    Formula: of each caption, questions with a right answer and some wrong ones are made; the judge gives each answer a
    probability p, and
        score of an item = mean over its questions of p(right) / sum of p over the answers,
        hard match = mean of [the likeliest answer is the right one],
        coverage = share of the caption's words, small ones left out, that a question is about.
    Questions that the judge says nothing to do not count, and are counted.

    Without a `writer`, rules make the questions: where a caption names a value of a column, that column is asked for,
    among `choices` of its values; of what is left a judge that sees pictures is asked, word by word, yes or no. A
    `writer` (a judge asked for words) writes one question for each word, and is then asked its own questions about the
    caption alone: what it does not answer rightly there is dropped, since the caption does not say it.

    Of the paper these are the forced coverage, the filter by entailment (there a network of its own for that), and
    normalised probabilities in place of hard matches. How exactly it normalises was not verified; here the answers that
    were given share out 1. Its prompts and human ratings cannot be had; `rated` names a column of a user's own.

    Use it to see what a generator, or a scraped collection, gets wrong: counting, colours, roles. With the judge
    `columns` the truth stands in the collection, and what is found is captions that contradict their columns.

    Relations: `mmvp` asks what an encoder cannot tell apart; the judge is `core.judging`.

    Args:
        vectors: `pictures` where the judge sees; `image` and `text` in one space to compare with their cosine.
        collection: captions in the column `text`.
        judge, writer: specs, see `core.judging`.
        columns: what rules ask for, names with "|" between; without, every column of 2 to 60 different words.
        rated: a column of numbers, higher where people found that caption and picture fit.
        items: above this many, so many are drawn.

    Raises `DataError` for no captions, no such column, or what the judge cannot be asked.
    """
    if text not in collection.columns:
        raise DataError(
            f"captions are asked about: name their column, text=…; there are {', '.join(collection.columns)}"
        )
    wanted = [name for name in columns.split("|") if name]
    if missing := [name for name in (*wanted, *filter(None, [rated])) if name not in collection.columns]:
        raise DataError(f"there is no column {missing[0]!r}; there are {', '.join(collection.columns)}")
    for name in ("image", "text"):
        if name in vectors and len(vectors[name]) != len(collection):
            raise DataError(f"{len(vectors[name])} vectors, {len(collection)} items: give as many")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(collection), min(items, len(collection)), replace=False))
    captions = [str(c or "") for c in collection.take(rows).values(text)]
    ids, reader = [str(i) for i in collection.ids[rows]], open_judge(judge, collection)
    if writer:
        made = asked_in_words(open_judge(writer, collection), captions)
    else:
        known = values_of(collection, wanted, but=(text, rated))
        made = asked_by_rules(captions, known, choices, rng, words=judge != COLUMNS)
    report = Report("Captions, asked", facts={"seed": seed, "judge": reader.name, "items": len(rows)})
    said = [groundable(caption) for caption in captions]
    covered = [
        len({w for a in each for w in a.words} & set(s)) / len(s) for each, s in zip(made, said, strict=True) if s
    ]
    report.add(mean_of("coverage", np.array(covered or [0.0]), np.arange(max(1, len(covered))), seed))
    flat = [(i, a) for i, each in enumerate(made) for a in each]
    told = reader.chances(_questions(flat, ids, rows, vectors.get("pictures") if judge != COLUMNS else None))
    total = np.array([p.sum() for p in told])
    of = np.array([i for i, _ in flat], np.int64)[total > 0] if flat else np.zeros(0, np.int64)
    kept = [(a, p / p.sum()) for (_, a), p in zip(flat, told, strict=True) if p.sum() > 0]
    report.facts |= {"questions": len(flat), "unanswered": len(flat) - len(kept)}
    if len(np.unique(of)) < FEWEST:
        few = f"{len(np.unique(of))} captions have a question that was answered, {FEWEST} are needed"
        return report.add(Text(f"cannot tell: {few}", "verdict"))
    soft = np.array([p[a.answers.index(a.right)] for a, p in kept])
    hard = np.array([float(p.argmax() == a.answers.index(a.right)) for a, p in kept])
    at, place = np.unique(of, return_inverse=True)
    score, match = (np.bincount(place, v) / np.bincount(place) for v in (soft, hard))
    groups = collection.take(rows[at]).numbers("group") if "group" in collection.columns else at
    report.add(mean_of("score", score, groups, seed), mean_of("hard match", match, groups, seed))
    skill = np.array([a.skill for a, _ in kept])
    for name in np.unique(skill):
        if (found := skill_of(str(name), skill == name, soft, place, seed)) is not None:
            report.add(found)
    if rated:
        report.add(ratings_of(vectors, collection, rows[at], rated, score, match, seed))
    worst = np.argsort(score, kind="stable")[:_SHOWN]
    shown = [Example([ids[at[i]]], captions[at[i]], (float(score[i]),)) for i in worst]
    return report.add(Examples("Captions whose pictures show least of what they say", shown))


def _questions(flat: list[tuple[int, Asked]], ids: list[str], rows: np.ndarray, pictures: Any) -> Iterator[Question]:
    for i, a in flat:
        seen = () if pictures is None else (pictures[int(rows[i])],)
        yield Question(a.text, a.answers, seen, item=ids[i], column=a.column)
