"""Items that are solved without a look at them."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import crossed, judged
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.core.parts import part
from tellapart.core.shortcuts import LAYOUTS, Named, beside_the_content, by_layout, named, surplus

_FEWEST, _PROPOSED = 20, 0.5


@part(
    paper="Luo, Banerjee, Gokhale, Yang, Baral, To Find Waldo You Need Contextual Cues: Debiasing Who's Waldo, 2022",
    place="curate",
    system="whos-waldo-debias",
    traits=("answers",),
    needs=("sklearn",),
    aliases=("blind-baselines",),
)
def blind_solvable(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    classify: str = "decision-tree(depth=6, leaf=5)",
    folds: Annotated[int, Field(ge=2, le=100)] = 5,
    chain: Annotated[int, Field(ge=2, le=100)] = 3,
    surely: Annotated[float, Field(gt=0.5, lt=1)] = 0.999,
    position: bool = False,
) -> Findings:
    """Items that rules without a look at the content solve more often than chance, and captions that do not suffice.

    Formula, for R rules, s_ri whether rule r has item i right and c_ri the chance of that:
        pictures whose caption names regions (20 or more): the rules say which box each name is, by layout alone: the
            first name the largest box; names from the largest box down; from left to right; so through the as many
            largest boxes as there are names; the first name the box in the middle. c = 1 / (the ways to deal the boxes)
        otherwise labels: classifiers, fitted on the other folds, that are given the length of the text alone, its small
            words and marks ("not", "?"), the size of the picture, or with `position` the place in the file; c is the
            share of the commonest label
        z_r = (sum_i s_ri - c_ri) / sqrt(sum_i c_ri (1 - c_ri)), and while the largest is z(1 - (1 - `surely`) / R) or
            more, as many of the items which r solves are taken as leave it at chance: those that most such rules solve,
            then those of which it is surest (among boxes, drawn by `seed`)
        score_i = (share of such rules that solve i) / 4, and 1/2 more for what is taken; proposed from 1/2 on
        drop what layout solves, and beforehand (score 3/4 at least) named pictures whose caption has no verb, or
            `chain` names with nothing but commas and conjunctions between them; look at what labels follow from
    The reason names the rule, and how many items it solves before and after, beside chance.

    Taken from the paper: rules by layout as a measure of bias, and no verb and chains of names as grounds to leave out.
    The paper leaves out by the captions alone; that rules are then brought to chance, and not below, where the opposite
    rule would solve everything, is added, and so are labels. Left of tags and parses: forms of some hundred English
    verbs, what ends in -ing or -ed, and the characters between names; where captions are in another language, the rest
    of the rules holds. WordNet's verbs are not used: most nouns are verbs in it.

    Its evidence, on generated captions: the rule that 70% of them followed falls to 0.03 from chance. A matcher trained
    on what is left is not shown to be better there than one trained on all, as the paper's is, only than one trained
    on as many.

    Use it before figures of a benchmark are believed, and before training on what was collected in one way. Boxes count
    by their names: only names with a capital that stand in the caption (people), not kinds of things. A word about the
    matter is no shortcut, and is not looked at; nor is the place in a file, since a folder a class is sorted.

    Relations: `odd-captions` finds captions that say nothing at all, `label-errors` labels that look wrong.

    Args:
        vectors: not read.
        collection: with `regions` and `text`, or with `label`; `near` or `group` keep what is the same in one fold.

    Raises `DataError` for neither, for fewer than two labels to tell apart, and nothing to be guessed from.
    """
    items = named(collection)
    if len(items) >= _FEWEST:
        solved, chance = by_layout(items)
        rules, rows = list(LAYOUTS), np.array([item.row for item in items])
        said = [_insufficient(item, chain) for item in items]
        order = np.broadcast_to(np.random.default_rng(seed).random(len(items)), solved.shape)
    elif "label" in collection.columns:
        rules, rows, solved, chance, order = _labels(collection, classify, folds, seed, position)
        said = [""] * len(rows)
    else:
        raise DataError(
            f"blind-solvable looks at labels, or at {_FEWEST} captions or more with names of `regions` of their picture"
        )
    limit = NormalDist().inv_cdf(1 - (1 - surely) / max(1, len(rules)))
    poor = np.array([bool(words) for words in said])
    by, strong = surplus(solved, chance, poor, order, limit)
    known = surplus(solved, chance, np.zeros(len(rows), bool), order, limit)[1] | strong
    share = solved[known].mean(axis=0) if known.any() else np.zeros(len(rows))
    scores = share / 4 + np.where(poor, 0.75, np.where(by >= 0, 0.5, 0.0))
    left = ~poor & (by < 0)
    reasons = list(said)
    for i in np.flatnonzero(by >= 0):
        before, after = solved[by[i]].mean(), solved[by[i], left].mean() if left.any() else 0.0
        reasons[i] = (
            f"solved without a look: {rules[by[i]]}; right of {before:.0%}, {after:.0%} without what is proposed, "
            f"by chance {chance[by[i]].mean():.0%}"
        )
    action = "drop" if len(items) >= _FEWEST else "look"
    ids = [str(collection.ids[row]) for row in rows]
    return Findings.of("blind-solvable", ids, scores, shown=_PROPOSED, action=action, reasons=reasons)


def _insufficient(item: Named, chain: int) -> str:
    """Why a caption cannot say who is who; "" where it may."""
    if item.chain >= chain:
        return f"its caption lists {item.chain} names in a row and does not say who is who: {item.caption[:60]!r}"
    return "" if item.verb else f"its caption has no verb: {item.caption[:60]!r}"


def _labels(
    collection: Collection, classify: str, folds: int, seed: int, position: bool
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(rules, rows, solved, chance, order) of labels by what lies beside the content."""
    beside = beside_the_content(collection, position=position)
    if not beside:
        raise DataError("blind-solvable has nothing to guess the labels from: no texts, and pictures of one size")
    rules, solved, order = [f"its label follows from {name}" for name in beside], [], []
    for x in beside.values():
        seen = judged({"document": x.astype(np.float32)}, collection, folds=folds, seed=seed)
        share = np.bincount(seen.codes) / len(seen.codes)
        try:
            proba = crossed(seen.x, seen.codes, seen.fold, classify)
        except DataError:
            proba = np.broadcast_to(share, (len(seen.codes), len(share)))
        solved.append(proba.argmax(axis=1) == seen.codes)
        order.append(proba[np.arange(len(proba)), seen.codes] - share[seen.codes])
    return rules, seen.rows, np.array(solved), np.full((len(rules), len(seen.rows)), share.max()), np.array(order)
