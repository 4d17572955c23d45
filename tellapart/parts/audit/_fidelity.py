"""How near pictures are to references of what they should show, and what a judge says of both side by side."""

from __future__ import annotations

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


def nearest_of(v: np.ndarray, rows: np.ndarray, known: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n] greatest and [n] second greatest cosine with references of the own entity other than the item itself."""
    out = np.full((2, len(rows)), -np.inf)
    for place, row in enumerate(rows):
        near = np.sort(v[known[(codes[known] == codes[row]) & (known != row)]] @ v[row])[::-1][:2]
        out[: len(near), place] = near
    return out[0], out[1]


def nearer(v: np.ndarray, made: np.ndarray, known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[entities] how much more often a picture than a reference is the nearer of the two to the other references."""
    out = []
    for e in np.unique(codes[made]):
        g, r = made[codes[made] == e], known[codes[known] == e]
        among, s = v[r] @ v[r].T, v[g] @ v[r].T
        np.fill_diagonal(among, -np.inf)
        more = [np.delete(s, j, axis=1).max(axis=1) - among[j].max() for j in range(len(r))]
        out.append(float(np.mean([np.sign(np.where(np.abs(d) < 1e-6, 0.0, d)) for d in more])))
    return np.array(out)


def flat(pixels: Any) -> np.ndarray:
    x = np.asarray(pixels, np.float32).reshape(len(pixels), -1)
    return unit_rows(x - x.mean(axis=0))


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
