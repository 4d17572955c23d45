"""Whether a model hears what a text denies: "no dog", "a cat, not a dog"."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._denied import ALONE, CHOICE, DENIED, FEWEST, SAID, THIRD, TRUE, Answers, answers
from tellapart.parts.audit._things import pairs_of, searched, things_of

_SHOWN, _OTHERS = 12, 120


@part(
    paper="Alhamoud, Alshammari, Tian, Li, Torr, Kim, Ghassemi: Vision-Language Models Do Not Understand Negation, "
    "CVPR 2025 (NegBench)",
    place="audit",
    traits=("text-encoder",),
    aliases=("negbench",),
)
def negation(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    column: str = "",
    alone: str = "no {y}|without {y}",
    both: str = "{x}, not {y}|not {y} but {x}",
    joined: str = "{x} and {y}|{y} and {x}",
    things: Annotated[int, Field(ge=20, le=400)] = 48,
    each: Annotated[int, Field(ge=2, le=50)] = 6,
    items: Annotated[int, Field(ge=60, le=200_000)] = 20_000,
) -> Report:
    """What a model makes of a denied thing, beside what it makes of the thing itself.

    Formula: things X, Y of the collection stand in pairs, none in two; A are `each` items with X and without Y, B as
    many with Y and without X, N up to 120 with neither, s(text, i) the cosine of text and item. For i of A (and of B,
    with X and Y exchanged; a mean over both ways to say it; ties are 1/2):
        denied alone = [s("X", i) > s("X", j)] - [s("no X", i) < s("no X", j)], a mean over j of B: an item that has
            X belongs before others where X is asked for, and after them where it is denied.
        one of two denied = [s("X", i) > s("Y", i)] - [s("X, not Y", i) > s("Y, not X", i)]. Each is said in two
            ways, "not Y but X" being the other: one that heeds what comes first is right in one of them.
        what is denied is drawn near = share of N below j under "X, not Y" - the same under "X, not W", for j of B; W
            is a third thing that no item of A and B has.
    The null of the first two: what is denied is heard as well as what is said. Of the third: denying a thing draws
    items that have it no nearer than denying another. p is of signs drawn anew for whole pairs of things, whose items
    and words stand together (`core.chance.mean_above`). A model that hears nothing, of either, has no finding: the
    report says that it cannot tell. One that hears the words and not the "no" has all three.

    Taken: the forms of text (affirmed, negated, hybrid), choices among them, and denied things in a query. NegBench
    asks for one of four captions that a language model wrote from annotated objects, and R@5 of captions with "there is
    no Y" added; here every question is by rule, of tags or nouns of the user's captions, and stands beside the same
    question without a denial, since captions do not name all that a picture holds: what is wrong in both falls out.
    "No" alone stands in VALSE (Parcalabescu et al., ACL 2022) as existence, denied parts of captions in CREPE (Ma et
    al., CVPR 2023). The published mitigation, training on millions of texts with denials, is not part of this.

    In our record all models that do not hear were called, all that had learnt to in part, none made to hear, and of ten
    that know nothing one (to ask for 75% of the denials calls all ten). Use it before people write "without" into a
    search. What the command of the third finding does (a query at a right angle to an item that is not liked) stands in
    the table: there it is seen.
    Relations: `word-order`, `shuffled-words` move words instead. In other languages give the forms of that language.

    Args:
        vectors: `text-encoder` and `image`, or the side that is searched by words (`q`, `k`); of texts, `encoder`.
        column: of tags or captions, what items have; empty: `attributes`, `tags`, `text`, `positive` or `label`.
        alone, both, joined: how it is said, ways with "|" between, with {x} and {y} where the things stand.
        things: the most frequent so many are asked about; all items are, whichever part of the split they are in.

    Raises `DataError` without texts that can be asked, for forms without {y}, or for rows that do not match.
    """
    ways = {"alone": alone.split("|"), "both": both.split("|"), "joined": joined.split("|")}
    for name, forms in ways.items():
        if not all("{y}" in form and ("{x}" in form or name == "alone") for form in forms):
            raise DataError(f"every way of {name} must hold {'{y}' if name == 'alone' else '{x} and {y}'}")
    z, ask = searched(vectors, collection)
    rng = np.random.default_rng(seed)
    held = things_of(collection, column, items=items, least=each, most=things, rng=rng)
    pairs = pairs_of(held.has, each, _OTHERS, rng)
    report = Report("Negation", facts={"seed": seed, "pairs": len(pairs), "each": each, "column": held.column})
    report.add(Figure("pairs of things", len(pairs), count=len(held.rows), note="a count has no interval"))
    if len(pairs) < FEWEST:
        few = f"{len(pairs)} pairs of things in {held.column!r} have {each} items with the one and not the other"
        return report.add(Text(f"cannot tell whether denial is heard: {few}, {FEWEST} are needed", "verdict"))
    told = answers(z[held.rows], held.names, pairs, ask, **ways)
    share = told.share
    at = {name: f"{values.mean():.0%}" for name, values in share.items()}
    no, hybrid = (ways[name][0].replace("{x}", "X").replace("{y}", "Y") for name in ("alone", "both"))
    looked = {
        "denied alone": (
            SAID, ALONE, f"What has X comes before what has Y in {at[SAID]} of the cases where 'X' is asked for; asked "
            f"for '{no.replace('Y', 'X')}' it should come after it, and does in {at[ALONE]}.",
        ),
        "one of two denied": (
            CHOICE, TRUE, f"What has X is nearer to 'X' than to 'Y' in {at[CHOICE]} of the cases, and nearer to "
            f"'{hybrid}' than to the reverse in {at[TRUE]}.",
        ),
        "what is denied is drawn near": (
            DENIED, THIRD, f"Asked for '{hybrid}', the model puts what has Y before {at[DENIED]} of what has neither; "
            f"where a thing is denied that is in none of them, before {at[THIRD]}.",
        ),
    }  # fmt: skip
    for name, (more, less, said) in looked.items():
        rows = told.theirs if more == DENIED else told.mine
        ids = [str(i) for i in collection.ids[held.rows[rows]]]
        report.add(_finding(name, said, share[more] - share[less], ids, told, seed))
    if (_interval(share[CHOICE], told, seed)[0] or 0) <= 0.5:
        why = "the things themselves are told no better than by chance"
        report.add(Text(f"cannot tell whether denial is heard: {why}", "warn"))
    figures = [Figure(name, float(v.mean()), *_interval(v, told, seed), count=len(v)) for name, v in share.items()]
    note = (
        "items with X beside items with Y alone; then how often an item with X is nearer to the first of two texts; "
        "then the share of items with neither that come after one with Y alone"
    )
    return report.add(
        Table("What was asked, and how often it came out", ["asked", "share"], [[f.name, f] for f in figures], note)
    )


def _interval(values: np.ndarray, told: Answers, seed: int, lowest: float = 0.0) -> tuple[float | None, float | None]:
    return redraw.interval(redraw.mean(values), told.pair, seed=seed, draws=300, ends=(lowest, 1.0))


def _finding(name: str, said: str, values: np.ndarray, ids: list[str], told: Answers, seed: int) -> Finding:
    worst = np.argsort(-values, kind="stable")[:_SHOWN]
    searched_for = name == "what is denied is drawn near"
    shown = []
    for i in worst[values[worst] > 0]:
        x, y = told.names[i]
        why = f"has '{y}', which is denied beside '{x}'" if searched_for else f"has '{x}' and not '{y}'"
        shown.append(Example([ids[i]], why, (float(values[i]),)))
    figure = Figure(name, float(values.mean()), *_interval(values, told, seed, -1.0), count=len(values))
    mend = ""
    if searched_for and shown:
        words, id_ = (
            shlex.quote(v).replace("{", "{{").replace("}", "}}") for v in (told.names[worst[0]][0], ids[worst[0]])
        )
        mend = f"tellapart search {words} --unlike {id_} --run {{model}}"
    p = mean_above(values, told.pair, seed=seed)
    return Finding(figure, said, p, "lower", ids, values.tolist(), shown, mend)
