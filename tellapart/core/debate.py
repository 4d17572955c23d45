"""Labels by debate: annotators vote, the sides of a dispute name settled items that are like it, a judge weighs both.

Who agrees with the others counts more; what all agree on is the evidence of the first round, and what the judge settles
joins it for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows

BLOCK = 512
_LEAST = 1e-3

Annotator = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Debated:
    """What a debate made of votes.

    Attributes:
        label: [n] the judge's choice among the votes of an item, -1 where nobody voted.
        sure: [n] its probability among all labels; 0 where nobody voted.
        agreement: [n] share of an item's votes that are for `label`; 0 where nobody voted.
        settled: [n] bool, whether two or more agree and none disagrees, or the judge is sure enough.
        arguments: of each item {side: rows of the settled items that the side names}.
        trust: [k] how often an annotator is held to be right.
    """

    label: np.ndarray
    sure: np.ndarray
    agreement: np.ndarray
    settled: np.ndarray
    arguments: list[dict[int, list[int]]]
    trust: np.ndarray


def votes_of(annotators: Sequence[Annotator], items: Sequence[Any]) -> list[list[Any]]:
    """What each annotator says of the items; None abstains.

    Raises:
        DataError: an annotator says something of more or fewer items than it was asked about.
    """
    said = [list(annotator(items)) for annotator in annotators]
    if odd := [len(each) for each in said if len(each) != len(items)]:
        raise DataError(f"an annotator was asked about {len(items)} items and answered {odd[0]}")
    return said


def debated(
    votes: np.ndarray, x: np.ndarray, group: np.ndarray, *, names: int, k: int, rounds: int, sure: float
) -> Debated:
    """Settle votes by debate.

    Args:
        votes: [n, annotators] int, a label from 0 below `names`, or -1 for no vote.
        x: [n, d] features, by which items are alike.
        group: [n] equal where items are the same: none is evidence for another of its group.
        k: how many settled items the sides share; rounds: of a debate; sure: probability from which it is settled.
    """
    given = votes >= 0
    u = unit_rows(x - x.mean(axis=0))
    trust = trusts(votes, names)
    weight = np.log(trust * max(names - 1, 1) / (1 - trust))
    label, agreement = _majority(votes, weight, names)
    sides = [np.unique(row[row >= 0]) for row in votes]
    contested, many = np.array([len(each) > 1 for each in sides]), given.sum(axis=1) > 1
    agreed = many & ~contested
    settled, probability = agreed.copy(), np.zeros(len(votes))
    arguments: list[dict[int, list[int]]] = [{} for _ in votes]

    def judge(rows: np.ndarray) -> None:
        pool = np.flatnonzero(settled)
        share = np.maximum(np.bincount(label[pool], minlength=names) / max(1, len(pool)), _LEAST)
        for block in np.array_split(rows, max(1, -(-len(rows) // BLOCK))):
            likeness = u[block] @ u[pool].T
            likeness[group[block][:, None] == group[pool]] = -np.inf
            for i, like in zip(block, likeness, strict=True):
                near = np.argsort(-like, kind="stable")[:k]
                near = pool[near[np.isfinite(like[near])]]
                heard, s = np.bincount(label[near], minlength=names), len(sides[i])
                logits = np.log((heard + s * share / share.sum()) / (len(near) + s))
                np.add.at(logits, votes[i][given[i]], weight[given[i]])
                chance = np.exp(logits - logits.max())
                best = sides[i][chance[sides[i]].argmax()]
                label[i], probability[i] = best, chance[best] / chance.sum()
                agreement[i] = (votes[i] == best).sum() / given[i].sum()
                arguments[i] = {int(c): near[label[near] == c].tolist() for c in sides[i]}

    for _ in range(rounds):
        judge(np.flatnonzero(contested & ~settled))
        now = contested & ~settled & (probability >= sure)
        if not now.any():
            break
        settled |= now
    judge(np.flatnonzero(~contested & given.any(axis=1)))
    return Debated(label, probability, agreement, settled | (~contested & (probability >= sure)), arguments, trust)


def trusts(votes: np.ndarray, names: int) -> np.ndarray:
    """[annotators] share of an annotator's votes that are right, where the others' votes agree with each other.

    One right and one wrong vote are added, and it is held to be at least a little better than chance.
    """
    right, asked = np.ones(votes.shape[1]), np.full(votes.shape[1], 2.0)
    for a in range(votes.shape[1]):
        others = np.delete(votes, a, axis=1)
        least = np.where(others >= 0, others, names).min(axis=1, initial=names)
        agreed = (others.max(axis=1, initial=-1) == least) & (votes[:, a] >= 0)
        right[a] += (votes[agreed, a] == least[agreed]).sum()
        asked[a] += agreed.sum()
    return np.clip(right / asked, 1 / max(names, 2) + 0.01, 0.99)


def _majority(votes: np.ndarray, weight: np.ndarray, names: int) -> tuple[np.ndarray, np.ndarray]:
    counts, weighed = (np.zeros((len(votes), names)) for _ in range(2))
    for a in range(votes.shape[1]):
        rows = np.flatnonzero(votes[:, a] >= 0)
        counts[rows, votes[rows, a]] += 1
        weighed[rows, votes[rows, a]] += weight[a]
    some = counts.sum(axis=1) > 0
    label = np.where(some, weighed.argmax(axis=1), -1)
    own = counts[np.arange(len(votes)), np.maximum(label, 0)]
    return label, np.divide(own, counts.sum(axis=1), out=np.zeros(len(votes)), where=some)
