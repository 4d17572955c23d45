"""Labels that several annotators do not agree on, settled by a debate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import crossed, folds_of
from tellapart.core.debate import Debated, debated
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.findings import Findings
from tellapart.core.parts import part

_VOTE = re.compile(r"vote_\d+")
_FOLDS, _NAMED = 5, 3


@part(
    paper="Yeh et al., T2Vs Meet VLMs: A Scalable Multimodal Dataset for Visual Harmfulness Recognition, NeurIPS 2024",
    place="curate",
    system="vhd11k",
    traits=("document", "votes"),
    aliases=("debate",),
)
def debated_labels(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    annotators: str = "",
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
    rounds: Annotated[int, Field(ge=1, le=100)] = 2,
    sure: Annotated[float, Field(ge=0.5, lt=1)] = 0.9,
) -> Findings:
    """What votes of several annotators (columns `vote_1`, `vote_2` …) come to, and which of them remain in dispute.

    Formula, with v_ia the vote of annotator a, of C labels, and S the settled items, at first those whose votes agree:
        trust_a = share of a's votes that are as the others' where those agree with each other, one right and one wrong
            added; weight_a = log(trust_a (C - 1) / (1 - trust_a))
        a label that somebody votes for is a side, s of them; of the `k` nearest of S, by cosine of centred vectors, m_c
            have label c and are its arguments, and q_c is the share of c in S
        the judge: p_c in proportion to (m_c + s q_c) / (k + s) * exp(sum of weight_a over the votes for c), over all
            labels; the label is the side with the largest
        a dispute is settled where that p is `sure` or more, and is an argument in the next of `rounds`; where all agree
            the judge is heard last, and only says how sure that is
        relabel where the settled label is not the given one, score (1 + p) / 2; look at a dispute that is not settled,
            score 1 - p / 2; the others (1 - p) / 2, below what is proposed; p is that of the judge's label
    The reason tells the votes, the share that agrees with the judge, and some of the items that each side names.

    Taken from the paper: two sides that argue for and against, examples in context, two rounds, a judge who hears both,
    arguments kept with the label. There all three are language models that look at a picture; here sides are those who
    vote, an argument is the settled items that an item is like, and the judge is Bayes' rule on both. Votes of such
    models, or of people, are columns. Abstaining is added.

    Use it where several people, rules or models labelled the same items. With two annotators nobody breaks a tie but
    the neighbours. It believes what all agree on: annotators who share a mistake settle it. Labels go into the column
    `label`; where there is none, disputes are shown only, and a copy of one of the votes as `label` is corrected.

    Its evidence is mixed. No gain in accuracy over the majority is shown anywhere. Where annotators are mostly right
    (clothes) the surest labels are more often right than those of the majority or of Dawid-Skene; where they are right
    in a fifth of the items (rows of code points) it is worse than the majority: mistakes then settle further ones. A
    classifier fitted on the majority does as well.

    Relations: `label-errors` doubts one label by a classifier; `trusted-prototypes` where some items are surely right.

    Args:
        vectors: `document` [n, d].
        collection: with two columns of votes or more; an empty vote is none. `near` or `group` say what is the same.
        annotators: specs of classifiers that vote as well, with ";" between them, each fitted on the majority of the
            votes in the other folds.

    Raises `DataError` for fewer than two columns of votes or two labels, rows that do not match, or values that are not
    finite.
    """
    x = matrix(vectors.get("document"), what="document").astype(np.float64)
    if len(x) != len(collection):
        raise DataError(f"{len(collection)} items need as many rows of vectors, not {len(x)}")
    columns = sorted((name for name in collection.columns if _VOTE.fullmatch(name)), key=lambda name: int(name[5:]))
    if len(columns) < 2:
        raise DataError("a debate needs the votes of two annotators or more, in columns `vote_1`, `vote_2` …")
    said = [[str(value).strip() if value is not None else "" for value in collection.values(name)] for name in columns]
    names = sorted({value for column in said for value in column} - {""})
    if len(names) < 2:
        raise DataError("all votes are for one label: there is nothing to settle")
    number = {name: place for place, name in enumerate(names)}
    votes = np.array([[number.get(value, -1) for value in column] for column in said]).T
    group = next((collection.codes(c)[0] for c in ("near", "group") if c in collection.columns), np.arange(len(x)))
    for spec in filter(None, (each.strip() for each in annotators.split(";"))):
        votes = np.column_stack([votes, _learnt(spec, votes[:, : len(columns)], x, group, seed)])
    found = debated(votes, x, group, names=len(names), k=k, rounds=rounds, sure=sure)
    given = [None] * len(x)
    if "label" in collection.columns:
        given = [None if value is None else str(value) for value in collection.values("label")]
    known = set(given)
    rows = np.flatnonzero((votes >= 0).any(axis=1))
    scores, actions, to, reasons = [], [], [], []
    for i in rows:
        label, p = names[found.label[i]], float(found.sure[i])
        new = bool(found.settled[i]) and "label" in collection.columns and label != given[i] and label in known
        dispute = not found.settled[i] and len(np.unique(votes[i][votes[i] >= 0])) > 1
        scores.append((1 + p) / 2 if new else 1 - p / 2 if dispute else min((1 - p) / 2, 0.499))
        actions.append("relabel" if new else "look")
        to.append(label if new else "")
        reasons.append(_told(found, i, votes[i], names, collection) if new or dispute else "")
    ids = [str(collection.ids[i]) for i in rows]
    return Findings.of("debated-labels", ids, scores, shown=0.5, action=actions, reasons=reasons, to=to)


def _told(found: Debated, i: int, votes: np.ndarray, names: list[str], collection: Collection) -> str:
    voted = ", ".join(names[vote] if vote >= 0 else "none" for vote in votes)
    sides = "; ".join(
        f"for {names[c]} speak {len(rows)}"
        + (f" ({', '.join(map(str, collection.ids[rows[:_NAMED]]))})" if rows else "")
        for c, rows in sorted(found.arguments[i].items(), key=lambda side: -len(side[1]))
    )
    judged = f"the judge says {names[found.label[i]]} ({found.sure[i]:.2f}, {found.agreement[i]:.0%} of the votes)"
    return f"votes: {voted}; {judged}" + (f"; {sides}" if sides else "")


def _learnt(spec: str, votes: np.ndarray, x: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """[n] votes of a classifier that was fitted on what most say of the other folds' items."""
    most = np.array([np.bincount(row[row >= 0]).argmax() if (row >= 0).any() else -1 for row in votes])
    rows = np.flatnonzero(most >= 0)
    classes, codes = np.unique(most[rows], return_inverse=True)
    fold = folds_of(group[rows], _FOLDS, np.random.default_rng(seed))
    vote = np.full(len(x), -1)
    vote[rows] = classes[crossed(x[rows], codes, fold, spec).argmax(axis=1)]
    return vote
