"""One score in the five settings of finding what does not belong, on a collection with labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.detection import tasks_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import card_of, make, parse_spec, part
from tellapart.core.report import Figure, Report, Text

_FEWEST, _FEW, _PASS = 60, 10, 0.95
_OPEN, _OUT = "open-set recognition", "out-of-distribution detection"


@part(
    paper="Miyai et al., Generalized Out-of-Distribution Detection and Beyond in Vision Language Model Era: A Survey, "
    "TMLR 2025",
    place="audit",
    system="good-v2",
    traits=("document",),
    aliases=("good-v2",),
)
def detection_settings(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    score: str = "knn",
    by: str = "label",
    shifted: str = "",
    noise: Annotated[float, Field(ge=0, le=100)] = 1.0,
    outliers: Annotated[float, Field(gt=0, le=0.5)] = 0.1,
) -> Report:
    """How well a score does in each of the five tasks, and whether it rejects known things that only look otherwise.

    Formula: half of the classes, at least two, are drawn as known; a half of their items is fitted on and the other
    half K is judged. U are the items of the other classes; near and far ones are the nearer and the farther half of
    these classes, by the distance of their mean to the nearest mean of a known class. S are known things that look
    otherwise: the items of known classes that the column `shifted` marks, or else K + noise sigma e, sigma [d] the
    spread of the fitted items and e normal.
        anomaly detection                fitted without labels, S against K
        novelty detection                fitted without labels, U against K
        open-set recognition             fitted with labels where the score takes them, U against K
        out-of-distribution detection    the same, near and far U against K
        outlier detection                fitted without labels on K and on so many of U that they are the share
                                         `outliers` of it; these against K, all of them being what was fitted on
    For each AUROC, the chance that the first scores above the second, ties half, and FPR95, the share of the first that
    passes where 95% of the second do. `rejected, shifted` is the share of S above that threshold of open-set
    recognition, which full-spectrum detection wants near 5%; `known items named` is the share of K nearest to the mean
    of its own class. Intervals are over the duplicate groups of what is counted, the known scores as they are.

    Use it before trusting a score on a collection like this one. What is called unknown here is known in truth, so the
    choice of score by it is a choice on labels. docs/detecting.md says which task is which.

    Relations: any `score` part of the trait `unknown`; one that needs labels has no figure where there are none. Of
    what is fitted on itself each item is its own nearest: give `knn` a k of 2 or more.

    Args:
        vectors: `document` [n, d].
        collection: with the column `by`, two items a class or more; items without a label are left out.
        score: the spec of the part.

    Raises `DataError` for rows that do not match, fewer than three classes, or too few items.
    """
    x = matrix(vectors.get("document"), what="document")
    if len(x) != len(collection):
        raise DataError(f"{len(x)} vectors, {len(collection)} items: give as many")
    for column in [by, *([shifted] if shifted else [])]:
        if column not in collection.columns:
            raise DataError(f"there is no column {column!r}; there are {', '.join(collection.columns)}")
    traits = set(card_of("score", parse_spec(score)[0]).traits)
    if "unknown" not in traits or traits & {"names", "texts"}:
        raise DataError(f"{score} finds nothing unknown among vectors alone; give another score part")
    labels = collection.values(by)
    rows = np.array([r for r, label in enumerate(labels) if label is not None], dtype=np.int64)
    names, y = np.unique([str(labels[r]) for r in rows], return_inverse=True)
    if len(rows) < _FEWEST or len(names) < 3:
        raise DataError(f"{len(rows)} items of {len(names)} classes are too few: give {_FEWEST} of three or more")
    other = np.array([bool(v) for v in collection.values(shifted)] if shifted else np.zeros(len(collection)), bool)[
        rows
    ]
    group = collection.numbers("group")[rows] if "group" in collection.columns else rows
    x, rng = x[rows], np.random.default_rng(seed)
    known, new = np.split(rng.permutation(len(names)), [max(2, len(names) // 2)])
    fit, k = np.array_split(rng.permutation(np.flatnonzero(np.isin(y, known) & ~other)), 2)
    u, s = np.flatnonzero(np.isin(y, new) & ~other), np.flatnonzero(np.isin(y, known) & other)
    if set(y[fit]) != set(known.tolist()) or min(len(u), len(s) if shifted else len(k)) < _FEW:
        raise DataError(f"too few items of each class: {len(fit)} to fit on, {len(u)} unknown, {len(s)} marked")
    mean = np.stack([x[fit[y[fit] == c]].mean(axis=0) for c in known])
    away = np.array([np.linalg.norm(x[u[y[u] == c]].mean(axis=0) - mean, axis=1).min() for c in new])
    near = np.isin(y[u], new[np.argsort(away, kind="stable")[: (len(new) + 1) // 2]])
    moved = x[s] if shifted else x[k] + noise * x[fit].std(axis=0) * rng.normal(size=x[k].shape)
    some = rng.permutation(u)[: max(1, round(len(k) * outliers / (1 - outliers)))]
    report = Report("Settings of detection", facts={"seed": seed, "score": score, "known classes": len(known)})
    judge = make("score", score).fit(x[fit], names[y[fit]] if "labels" in traits else None)
    passed, strange, of_s = judge.score(x[k]), judge.score(moved), group[s] if shifted else group[k]
    judged = {_OPEN: (passed, judge.score(x[u]), group[u])}
    for word, chosen in (("near", near), ("far", ~near)):
        if chosen.any():
            judged[f"{_OUT}, {word}"] = (passed, judge.score(x[u[chosen]]), group[u[chosen]])
    if "outlier detection" in tasks_of(traits):
        whole = np.concatenate([x[k], x[some]])
        inside = make("score", score).fit(whole).score(whole)
        judged["anomaly detection"] = (passed, strange, of_s)
        judged["novelty detection"] = judged[_OPEN]
        judged["outlier detection"] = (inside[: len(k)], inside[len(k) :], group[some])
    else:
        report.add(Text(f"{score} needs labels: it serves no task that has none"))
    for task, (low, high, of) in judged.items():
        report.add(_share(f"AUROC, {task}", _above(low, high), of, seed))
        report.add(_share(f"FPR95, {task}", high <= np.quantile(low, _PASS), of, seed))
    report.add(_share("rejected, shifted", strange > np.quantile(passed, _PASS), of_s, seed))
    nearest = known[np.linalg.norm(x[k][:, None] - mean, axis=2).argmin(axis=1)]
    return report.add(_share("known items named", nearest == y[k], group[k], seed))


def _above(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[n] of each of `high` the share of `low` that it exceeds, ties half."""
    order = np.sort(low)
    return np.asarray((np.searchsorted(order, high, "left") + np.searchsorted(order, high, "right")) / (2 * len(low)))


def _share(name: str, yes: np.ndarray, groups: np.ndarray, seed: int) -> Figure:
    ends = redraw.interval(redraw.mean(np.asarray(yes, float)), groups, seed=seed)
    note = "" if ends[0] is not None else "too few groups for an interval"
    return Figure(name, float(yes.mean()), *ends, count=len(yes), note=note)
