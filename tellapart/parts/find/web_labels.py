"""Labels from the web: those of something else, and those that another class should have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import FEWEST, Labels, crossed, judged
from tellapart.core.divided import clean_probability, principal, separated
from tellapart.core.findings import Findings
from tellapart.core.parts import part


@part(
    paper="Albert et al., An accurate detection is not all you need to combat label noise in web-noisy datasets, "
    "ECCV 2024",
    place="curate",
    system="pls-lsa",
    traits=("labels", "document"),
    needs=("sklearn",),
    aliases=("alternating-detection",),
)
def web_labels(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    rounds: Annotated[int, Field(ge=1, le=20)] = 1,
    noisy: Annotated[float, Field(gt=0, lt=1)] = 0.95,
    gamma: Annotated[float, Field(gt=0, le=100)] = 2.0,
    dim: Annotated[int, Field(ge=1, le=4096)] = 64,
    folds: Annotated[int, Field(ge=2, le=100)] = 5,
    classify: str = "logistic-regression(c=0.1)",
) -> Findings:
    """Items whose label is not learnt by a classifier that is trained on two divisions of the items in turn.

    Formula, on the first `dim` principal directions u of the features (unit length, standardised), whitened:
        p_i = what a classifier that was fitted on the kept items of the other folds makes of item i.
        By loss: s_i = posterior of the small component of a mixture of two normal distributions of
            -log p_i,given (min-max to [0, 1]); noisy where 1 - s_i > `noisy`.
        By line: b_i = P(clean | u_i) of a class-balanced logistic regression, fitted on the other folds, whose truth is
            the division by loss; noisy where b_i < 1/2.
        `rounds` times: classifier, keep by loss; classifier, keep by line. Then classifier, keep by loss; classifier.
            The first one is fitted on all; a class of which fewer than five would be kept is kept whole.
        score_i = 1 - s_i of the last classifier; proposed above `noisy`, where the first and the last believe
            another class: a mixture finds two components also where nothing is wrong, and leaving out feeds on itself.
        Pseudo-label of a noisy item: q ~ m^gamma, m the mean of its p_i in the last two classifiers, one of either
            division. Its loss -sum_c q_c log p_ic (last classifier) is divided by a mixture again, among noisy items;
            `relabel` as the likeliest of q where that is the small component, the line says clean, and it is another
            class; `drop` otherwise: the item belongs to no class, or nobody knows to which.

    Losses find what is labelled wrongly, the line what looks like nothing in the collection. The paper finds that the
    line alone tells wrong items better and yet trains no better classifier, for it casts out clean, simple items; so
    the two take turns, and here the losses have the last word.

    Use it where labels come from a search or a tag and some items belong to no class. With labels mixed up among the
    classes only, `label-errors` says the same for less.

    Taken from the paper and its published code: both detectors, 0.95, alternation, sharpening with gamma 2, the second
    mixture. Not taken: features are frozen, not trained by contrast on the collection, of which the paper's line lives;
    a classifier stands for a trained network and its losses are those of items that it has not seen, which do not
    depend on when training stops; the line has a penalty |w|^2 / 2, as few items can be separated in many ways; two
    classifiers stand for two views. Mixup, class prior, the contrastive term and the pair of networks are training.

    Args:
        vectors: `document` [n, d].
        collection: with a column `label`; items without one are not looked at. `near` or `group` is kept in one fold.
        classify: spec of the classifier.

    Raises `DataError` for no labels, fewer than two classes of five items, rows that do not match, or values that are
    not finite.
    """
    held = judged(vectors, collection, folds=folds, seed=seed)
    u, rows, kept = principal(held.x, dim), np.arange(len(held.rows)), None
    views: list[np.ndarray] = []
    small = line = np.ones(len(rows))
    for turn in range(2 * rounds + 2):
        views.append(crossed(u, held.codes, held.fold, classify, kept))
        small = clean_probability(-np.log(np.maximum(views[-1][rows, held.codes], 1e-6)))
        line = separated(u, 1 - small <= noisy, held.fold)
        kept = _whole(1 - small <= noisy if turn % 2 == 0 else line >= 0.5, held.codes)
    doubted = [view.argmax(axis=1) != held.codes for view in (views[0], views[-1])]
    wrong = (1 - small > noisy) & doubted[0] & doubted[1]
    sharp = ((views[-1] + views[-2]) / 2) ** gamma
    sharp /= sharp.sum(axis=1, keepdims=True)
    likeliest, known = sharp.argmax(axis=1), np.zeros(len(rows), bool)
    if wrong.any():
        pseudo = -(sharp * np.log(np.maximum(views[-1], 1e-6))).sum(axis=1)
        known[wrong] = clean_probability(pseudo[wrong]) > 0.5
    known &= (line >= 0.5) & (likeliest != held.codes)
    to = [held.names[c] if k else "" for c, k in zip(likeliest, known, strict=True)]
    actions = ["relabel" if k else "drop" if w else "look" for k, w in zip(known, wrong, strict=True)]
    shown = float(np.nextafter(np.float32(noisy), np.float32(1)))
    score = np.where(wrong, np.maximum(1 - small, shown), np.minimum(1 - small, noisy))
    reasons = [_said(held, row, views[-1][row], line[row]) if wrong[row] else "" for row in rows]
    return Findings.of(
        "web-labels", collection.ids[held.rows], score, shown=shown, action=actions, reasons=reasons, to=to
    )


def _whole(kept: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Also all items of the classes of which hardly any would be kept."""
    return kept | (np.bincount(codes, kept) < FEWEST)[codes]


def _said(held: Labels, row: int, proba: np.ndarray, line: float) -> str:
    given, best = held.names[held.codes[row]], held.names[int(proba.argmax())]
    beside = "looks like no class here" if line < 0.5 else f"{proba.max():.0%} {best!r}"
    return f"labelled {given!r}, {proba[held.codes[row]]:.0%} by what is kept of the others; {beside}"
