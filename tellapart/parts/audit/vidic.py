"""Two checklists for descriptions of pairs: what is the same in both, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.judging import open_judge
from tellapart.core.parts import part
from tellapart.core.questions import YES_NO, Question
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._asked_scores import mean_of

_FEWEST, _SHOWN = 20, 12
_NEEDED = ("kind", "question", "answer")


@part(
    paper="Wu et al., ViDiC: Video Difference Captioning, 2025",
    place="audit",
    system="vidic",
    traits=("asks",),
    aliases=("dual-checklist",),
)
def vidic(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    judge: str = "columns",
    description: str = "text",
    pair: str = "pair",
    category: str = "category",
    items: Annotated[int, Field(ge=40, le=100_000)] = 10_000,
) -> Report:
    """Whether descriptions of two videos, pictures or sets say what differs, and nothing that does not.

    Formula: an item is one line of a checklist about one pair. The judge reads the description alone and answers the
    question yes or no; right(i) = [the likelier answer is the line's own], and a line that it says nothing to is wrong.
        similarity accuracy = mean of right over lines of kind "similarity" (something is the same: whoever calls it
            different has made it up); difference accuracy = mean of right over lines of kind "difference".
    They are never averaged: who says that everything differs has the second alone, who says that nothing does has the
    first alone, and the mean of both calls them as good as a coin.

    The paper has 1,000 pairs of videos and seven categories, with a large language model as judge; those cannot be had,
    so the checklist is the user's. Of a describer that is one-sided the finding says so: the two accuracies differ by
    more than is likely if each line were right as often (Fisher's exact test, line by line).

    Use it on captions of changes, on what a set-difference report says, on any writer about two things.

    Relations: `set-differences` proposes what differs between two sets; the judge is `core.judging`.

    Args:
        vectors: none is read.
        collection: the columns `kind` (similarity or difference), `question`, `answer` (yes or no), the description;
            `pair` and `category` where there are any. For the judge `columns`, a column `said` with its answers.
        items: above this many lines, so many are drawn.

    Raises `DataError` for another kind or answer, or no description.
    """
    for name, held in vectors.items():
        if isinstance(held, np.ndarray) and len(held) != len(collection):
            raise DataError(f"{len(held)} rows in {name}, {len(collection)} items: give as many")
    report = Report("Two checklists", facts={"seed": seed})
    if missing := [name for name in _NEEDED if name not in collection.columns]:
        report.add(Figure("lines", 0, count=len(collection), note="a count has no interval"))
        return report.add(
            Text(f"cannot tell: a checklist has the columns {', '.join(_NEEDED)}; no {missing[0]}", "verdict")
        )
    if description not in collection.columns:
        raise DataError(f"there is no column {description!r}: name that of the descriptions, description=…")
    rows = np.arange(len(collection))
    if len(rows) > items:
        rows = np.sort(np.random.default_rng(seed).choice(rows, items, replace=False))
    held = collection.take(rows)
    kind, answer = (np.array([str(v).strip().lower() for v in held.values(n)]) for n in ("kind", "answer"))
    if odd := sorted(set(kind) - {"similarity", "difference"} | set(answer) - set(YES_NO)):
        raise DataError(f"{odd[0]!r} is no kind (similarity, difference) and no answer (yes, no) of a checklist")
    reader = open_judge(judge, collection)
    lines = zip(held.ids.tolist(), held.values("question"), held.values(description), strict=True)
    told = reader.chances(
        Question(str(q), YES_NO, texts=(str(said or "(nothing)"),), item=str(i), column="said") for i, q, said in lines
    )
    right = np.array([p.sum() > 0 and p[0] != p[1] and YES_NO[int(p.argmax())] == a
                      for p, a in zip(told, answer, strict=True)], float)  # fmt: skip
    groups = held.codes(pair)[0] if pair in held.columns else np.arange(len(held))
    report.facts |= {"judge": reader.name, "unanswered": int(sum(p.sum() == 0 for p in told))}
    figures = {name: mean_of(f"{name} accuracy", right[kind == name], groups[kind == name], seed)
               for name in ("similarity", "difference") if (kind == name).any()}  # fmt: skip
    report.add(*figures.values())
    if len(figures) < 2 or min(f.count for f in figures.values()) < _FEWEST:
        few = " and ".join(f"{(kind == n).sum()} of {n}" for n in ("similarity", "difference"))
        return report.add(Text(f"cannot tell: {few}; {_FEWEST} lines of each are needed", "verdict"))
    gap = difference(right, kind == "similarity", np.arange(len(right)), seed=seed)
    if gap is not None:
        word = (
            "makes up fewer differences than it finds"
            if gap.value > 0
            else "finds more differences than it leaves alone"
        )
        wrong = np.flatnonzero(right == 0)[:_SHOWN]
        shown = [Example([str(held.ids[i])], f"{kind[i]}: {held.values('question')[i]}") for i in wrong]
        figure = Figure("similarity less difference accuracy", gap.value, gap.low, gap.high, len(right))
        said = f"the describer {word}: the accuracies are {gap.value:+.2f} apart"
        report.add(Finding(figure, said, gap.p, examples=shown))
    if category in held.columns:
        kinds = [str(c) for c in held.values(category)]
        table = []
        for name in sorted(set(kinds)):
            mine = np.array([c == name for c in kinds])
            cells = [mean_of(name, right[mine & (kind == k)], groups[mine & (kind == k)], seed)
                     if (mine & (kind == k)).any() else None for k in ("similarity", "difference")]  # fmt: skip
            table.append([name, *cells])
        report.add(Table("By category", ["category", "similarity", "difference"], table))
    return report
