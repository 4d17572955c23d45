"""A small corpus: how few documents would order models as all of them do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.leaderboard import kendall, pooled
from tellapart.core.nearest import nearest
from tellapart.core.parts import part
from tellapart.core.report import Figure, Report, Table, Text

_FEWEST, _TOP, _PARTS = 100, 10, (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625)


@part(
    paper="Enevoldsen et al., MMTEB: Massive Multilingual Text Embedding Benchmark, ICLR 2025",
    place="audit",
    system="mmteb",
    traits=("q", "k", "asks"),
    aliases=("small-corpus",),
)
def mmteb(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    queries: Annotated[int, Field(ge=20, le=5000)] = 200,
    documents: Annotated[int, Field(ge=20, le=100_000)] = 400,
    items: Annotated[int, Field(ge=100, le=200_000)] = 10_000,
) -> Report:
    """Whether models can be compared on a few hundred documents in place of all.

    Formula: of every query that is drawn (`queries`), all its answers are kept, and then what several retrievers put
    first, place by place, until there are `documents` (`core.leaderboard.pooled`). The retrievers are the model (`q`,
    `k`), its signs, and a turn of it cut to half its numbers. The models that are then compared had no say in it: other
    turns of the model, cut to 1, 3/4, 1/2, 3/8, 1/4, 3/16, 1/8 and 1/16 of the numbers. Each is measured on all
    documents, on the pooled ones, and on the answers with as many others drawn at random:
        nDCG@10 of a query = 1 / log2(1 + place) of the first of its answers, 0 beyond place 10 (ties: the mean place);
        agreement = Kendall's tau-b of the models' order by the mean nDCG@10, with that on all documents.

    The paper pools from several public retrievers and keeps 250 hard documents a query; here the number is that of the
    whole corpus. Its other idea, to drop tasks that the others foretell, is `core.leaderboard.shrink` and stands behind
    `tellapart bench --shrink`; so do the Borda places of models.

    Use it before many recipes are compared on a large corpus, or a regression test is made of it: the figures say what
    a small corpus would have said. Scores on it are higher than on all documents, and no estimate of them.

    Args:
        vectors: `q`, `k` [n, d] unit vectors of both sides.
        collection: ids; `target` or `group` says which documents answer a query beside its own.
        items: above this many, so many are drawn.

    Raises `DataError` for rows that do not match or are not finite.
    """
    q, k = matrix(vectors.get("q"), what="q"), matrix(vectors.get("k"), what="k")
    if q.shape != k.shape or len(q) != len(collection):
        raise DataError(f"q is {q.shape}, k is {k.shape}, there are {len(collection)} items: give as many")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(q), min(items, len(q)), replace=False))
    asked = np.sort(rng.choice(len(rows), min(queries, len(rows) // 2), replace=False))
    report = Report("A small corpus", facts={"seed": seed, "documents": len(rows), "queries": len(asked)})
    same = _same(collection)[rows]
    answers = [np.flatnonzero(same == same[a]).tolist() for a in asked]
    if len(rows) < _FEWEST or len({row for each in answers for row in each}) >= min(documents, len(rows) // 2):
        count = Figure("documents", len(rows), count=len(asked), note="a count has no interval")
        few = f"{len(rows)} documents for {len(asked)} queries are too few to choose {documents} from"
        return report.add(count, Text(f"cannot tell: {few}; ask for fewer queries", "verdict"))
    q, k = unit_rows(q[rows][asked]), unit_rows(k[rows])
    turns = [np.linalg.qr(rng.normal(size=(q.shape[1],) * 2))[0] for _ in (*_PARTS, 0)]
    half = turns[-1][:, : max(1, q.shape[1] // 2)]
    pool = [(q, k), (np.sign(q), np.sign(k)), (q @ half, k @ half)]
    found = [nearest(a.astype(np.float32), [b.astype(np.float32)], min(documents, len(k)))[1] for a, b in pool]
    kept = pooled(found, answers, documents)
    others = np.setdiff1d(np.arange(len(k)), np.concatenate(answers))
    forced = np.setdiff1d(np.arange(len(k)), others)
    drawn = np.concatenate([forced, rng.choice(others, len(kept) - len(forced), replace=False)])
    scores = np.empty((3, len(_PARTS), len(asked)))
    for m, (share, turn) in enumerate(zip(_PARTS, turns, strict=False)):
        basis = turn[:, : max(1, round(share * q.shape[1]))]
        s = unit_rows(q @ basis) @ unit_rows(k @ basis).T
        for place, corpus in enumerate((np.arange(len(k)), kept, drawn)):
            scores[place, m] = _gain(s[:, corpus], same[asked][:, None] == same[corpus])
    for place, name in ((1, "pooled"), (2, "random")):
        report.add(_agreement(name, scores, place, same[asked], seed, len(kept)))
    means = scores.mean(axis=2)
    table = [[f"{share:g} of the numbers", *means[:, m].tolist()] for m, share in enumerate(_PARTS)]
    report.add(Table("nDCG@10", ["model", f"all {len(k)}", f"pooled {len(kept)}", f"random {len(kept)}"], table))
    tau = kendall(means[0], means[1])
    return report.add(
        Text(f"{len(kept)} pooled documents of {len(k)} order the models with a tau of {tau:.2f}", "verdict")
    )


def _same(collection: Collection) -> np.ndarray:
    """[n] int, equal where a document answers a query."""
    sides = collection.sides()
    if sides.target is not None and not sides.same_space:
        return np.asarray(collection.codes(sides.target)[0])
    return collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))


def _gain(s: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[n] nDCG@10 of the first answer; what ties with it stands half before it."""
    best = np.where(right, s, -np.inf).max(axis=1, keepdims=True)
    wrong = np.where(right, -np.inf, s)
    place = 1 + (wrong > best + 1e-6).sum(axis=1) + 0.5 * (np.abs(wrong - best) <= 1e-6).sum(axis=1)
    return np.where(place <= _TOP, 1 / np.log2(1 + place), 0.0)


def _agreement(name: str, scores: np.ndarray, place: int, groups: np.ndarray, seed: int, count: int) -> Figure:
    def statistic(times: np.ndarray) -> float:
        total = max(times.sum(), 1.0)
        return kendall(scores[0] @ times / total, scores[place] @ times / total)

    ends = redraw.interval(statistic, groups, seed=seed, draws=300, ends=(-1.0, 1.0))
    note = f"Kendall's tau-b with all documents; {count} documents"
    return Figure(f"order kept, {name}", statistic(np.ones(len(groups))), *ends, count=len(groups), note=note)
