"""How near pictures are to references of what they should show, and what a judge says of both side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.features import unit_rows
from tellapart.core.judging import open_judge
from tellapart.core.questions import YES_NO, Question
from tellapart.core.report import Figure, Text
from tellapart.parts.audit._asked_scores import FEWEST, mean_of


def fidelity(
    u: np.ndarray, rows: np.ndarray, known: np.ndarray, codes: np.ndarray, many: int
) -> tuple[np.ndarray, np.ndarray]:
    """[n] mean cosine with references of the own entity, but for the item itself; [n] whether no other has more."""
    sums = np.zeros((many, u.shape[1]))
    np.add.at(sums, codes[known], u[known])
    count = np.bincount(codes[known], minlength=many).astype(float)
    s = u[rows] @ sums.T
    own, n = (np.arange(len(rows)), codes[rows]), np.tile(count, (len(rows), 1))
    itself = np.isin(rows, known)
    s[own] -= itself * np.einsum("nd,nd->n", u[rows], u[rows])
    n[own] -= itself
    mean = np.where(n > 0, s / np.maximum(n, 1), -np.inf)
    return mean[own], (mean[own] >= mean.max(axis=1) - 1e-9).astype(float)


def nearest_of(v: np.ndarray, rows: np.ndarray, known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[n] greatest cosine with a reference of the own entity other than the item itself."""
    out = np.empty(len(rows))
    for place, row in enumerate(rows):
        mates = known[(codes[known] == codes[row]) & (known != row)]
        out[place] = (v[mates] @ v[row]).max()
    return out


def flat(pixels: Any) -> np.ndarray:
    x = np.asarray(pixels, np.float32).reshape(len(pixels), -1)
    return unit_rows(x - x.mean(axis=0))


def binomial_tail(hits: int, count: int, chance: float) -> float:
    """The chance of so many hits or more."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    k = np.arange(hits, count + 1)
    terms = logs[count] - logs[k] - logs[count - k] + k * math.log(chance) + (count - k) * math.log1p(-chance)
    return min(1.0, float(np.exp(terms).sum())) if chance < 1 else 1.0


def judged(
    vectors: Mapping[str, Any], collection: Collection, judge: str, made: np.ndarray, known: np.ndarray,
    codes: np.ndarray, names: list[Any], groups: np.ndarray, seed: int,
) -> list[Figure | Text]:  # fmt: skip
    asked, pictures = open_judge(judge, collection), vectors.get("pictures")
    first = {int(c): int(r) for c, r in zip(codes[known][::-1], known[::-1], strict=True)}
    said = asked.chances(
        Question(
            f"Do both pictures show the same {names[codes[row]]}?", YES_NO,
            () if pictures is None else (pictures[first[int(codes[row])]], pictures[int(row)]),
            item=str(collection.ids[row]), column="judged", value="yes",
        )
        for row in made
    )  # fmt: skip
    told = np.array([p.sum() > 0 for p in said])
    if told.sum() < FEWEST:
        return [Text(f"the judge {asked.name} answered {int(told.sum())} questions: too few", "note")]
    yes = np.array([p[0] / max(p.sum(), 1e-12) for p in said])[told]
    return [mean_of("the judge's yes", yes, groups[made][told], seed, 0.0)]
