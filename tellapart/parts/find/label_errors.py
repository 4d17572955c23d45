"""Labels that the rest of the collection does not believe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import crossed, judged
from tellapart.core.findings import Findings
from tellapart.core.parts import part


@part(
    paper="Northcutt et al., Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021",
    place="curate",
    traits=("labels", "document"),
    needs=("cleanlab", "sklearn"),
    aliases=("confident-learning",),
)
def label_errors(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    classify: str = "logistic-regression(c=0.01)",
    folds: Annotated[int, Field(ge=2, le=100)] = 5,
) -> Findings:
    """Items whose label another one should have, by confident learning; the library cleanlab does it.

    Formula, with p_ic the probability of class c for item i, by a classifier that was fitted on the other folds:
        t_c = mean of p_ic over the items labelled c: how sure the classifier is of that class, where it is given.
        C_ab = number of items labelled a with p_ib >= t_b, and p_ib the largest of all where several classes reach
        their t; at least 1 for a = b, and scaled to the counts of the labels, it estimates how many labelled a are b.
        For each a != b, the C_ab items labelled a with the largest p_ib - p_ia are errors, unless the given label is
        the likeliest after all.
        score_i = (1 - p_i,given) / 2, and 1/2 more for an error; from 1/2 on, `relabel` as the likeliest is proposed.

    Use it where items have one label each and classes have a few dozen items. A part of shape `classify` says what the
    collection thinks: give the one that is best on held-out items. Where many labels of a class are wrong in the same
    way, they are what the collection thinks, and nothing is found. An item that belongs to no class of the collection
    is told a wrong one.

    Relations: `misfit-captions` asks the same of pairs.

    Args:
        vectors: `document` [n, d].
        collection: with a column `label`; items without one are not looked at. `near` or `group` is kept in one fold.
        classify: spec of the classifier.

    Classes with fewer items than five in different groups are left aside: nothing can be said of them.

    Raises `DataError` for no labels, fewer than two classes of five items, rows that do not match, or values that are
    not finite.
    """
    from cleanlab.filter import find_label_issues

    held = judged(vectors, collection, folds=folds, seed=seed)
    proba = crossed(held.x, held.codes, held.fold, classify)
    errors = find_label_issues(held.codes, proba, filter_by="prune_by_noise_rate", n_jobs=1)
    own, likeliest = proba[np.arange(len(proba)), held.codes], proba.argmax(axis=1)
    errors &= likeliest != held.codes
    reasons, actions, to = [], [], []
    for row, wrong in enumerate(errors):
        given, better = held.names[held.codes[row]], held.names[likeliest[row]]
        sure = f"{proba[row, likeliest[row]]:.0%} {better!r} and {own[row]:.0%} {given!r}"
        reasons.append(f"labelled {given!r}, but by the other items {sure}" if wrong else "")
        actions.append("relabel" if wrong else "look")
        to.append(better if wrong else "")
    # What is no error stays below one half, also where the given label is all but excluded.
    score = np.where(errors, 1 - own / 2, np.minimum((1 - own) / 2, 0.499))
    ids = collection.ids[held.rows]
    return Findings.of("label-errors", ids, score, shown=0.5, action=actions, reasons=reasons, to=to)
