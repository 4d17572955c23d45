"""Blind pairs: pictures that one encoder takes for the same and another does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.blind import FEWEST, blind_pairs
from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.gradients import oriented_gradients
from tellapart.core.linear import crossed
from tellapart.core.parts import part
from tellapart.core.report import Example, Examples, Figure, Finding, Report, Text

_PICTURES, _RIDGE, _SHOWN = 50, 0.1, 6


@part(
    paper="Tong et al., Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs, CVPR 2024",
    place="audit",
    system="mmvp",
    traits=("image", "other"),
    aliases=("blind-pairs",),
)
def mmvp(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    high: Annotated[float, Field(gt=-1, lt=1)] = 0.95,
    low: Annotated[float, Field(gt=-1, lt=1)] = 0.6,
    pairs: Annotated[int, Field(ge=1, le=100_000)] = 150,
    items: Annotated[int, Field(ge=50, le=20_000)] = 3000,
    column: str = "label",
) -> Report:
    """What a search cannot tell apart: pairs near under its encoder (A) and far under a second one (B).

    Formula:
        blind pairs = {(i, j): cos_A(i, j) >= high and cos_B(i, j) <= low}, by falling cos_A - cos_B, each picture in
        one pair at most. `high` and `low` are the paper's for CLIP and DINOv2. Where fewer than 10 pairs pass, two
        quantiles stand in: the nearest 0.5% of all pairs under A and the farthest fifth of those under B.
    For every blind pair a control is drawn among the other pairs whose cos_A is nearest to its. Measured on both:
        differ: the share of pairs whose values of `column` differ; enrichment: blind over control (each plus 1/2).
        pair accuracy: the share of pairs with both pictures right, by a ridge probe for `column` on A, on B and on both
        side by side (fitted without the pairs it answers); and by words, where each picture of a pair has to
        be nearer to its own text than the other picture is.

    Use it to see what a search confuses. Without a second encoder, oriented gradients of `pixels` are B: they know
    shape and direction, and nothing of meaning.

    Args:
        vectors: `image` [n, a]: A; `other` [n, b]: B, or `pixels` [n, h, w] or [n, h, w, 3] to make B from; `text`
            [n, a]: vectors of the pictures' texts in the space of A.
        collection: ids, and `column` where there is something to ask of the pictures.
        items: above this many, so many are drawn.

    Raises `DataError` for rows that do not match, values that are not finite, too few pictures, or no second encoder.
    """
    a = unit_rows(matrix(vectors.get("image"), what="image"))
    if "other" not in vectors and "pixels" not in vectors:
        raise DataError("a second encoder is needed: give its vectors as `other`, or `pixels` to make features from")
    b = unit_rows(
        matrix(vectors["other"], what="other") if "other" in vectors else oriented_gradients(vectors["pixels"])
    )
    t = unit_rows(matrix(vectors["text"], dim=a.shape[1], what="text")) if "text" in vectors else None
    if not len(a) == len(b) == len(collection) or len(a) < _PICTURES:
        raise DataError(
            f"{len(a)} and {len(b)} vectors, {len(collection)} pictures: give as many, at least {_PICTURES}"
        )
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(a), min(items, len(a)), replace=False))
    blind, control, used = blind_pairs(a[drawn], b[drawn], high, low, pairs, rng)
    blind, control = drawn[blind], drawn[control]
    report = Report("Blind pairs", facts={"seed": seed, "pictures": len(drawn), "high": used[0], "low": used[1]})
    if used != (high, low):
        report.add(Text(f"fewer than {FEWEST} pairs pass {high} and {low}: quantiles {used[0]:.3f} and {used[1]:.3f}"))
    report.add(Figure("blind pairs", len(blind), count=len(drawn), unit="pairs", note="a count has no interval"))
    if min(len(blind), len(control)) < FEWEST:
        few = f"{len(blind)} blind pairs and {len(control)} to compare them with among {len(drawn)} pictures"
        return report.add(Text(f"cannot tell: only {few}", "verdict"))
    answers: dict[str, np.ndarray] = {}
    codes, asked = collection.codes(column) if column in collection.columns else (None, [])
    for kind, found in (("blind", blind), ("control", control)):
        if codes is not None and len(asked) > 1:
            answers[f"differ, {kind}"] = np.asarray(codes[found[:, 0]] != codes[found[:, 1]])
            for name, x in (("A", a), ("B", b), ("A and B", np.concatenate([a, b], axis=1))):
                right = crossed(x, codes, found, _RIDGE, np.random.default_rng(seed))
                answers[f"pair accuracy on {name}, {kind}"] = np.asarray(right.all(axis=1))
        if t is not None:
            s = np.einsum("pid,pjd->pij", t[found], a[found])
            answers[f"pair accuracy by words, {kind}"] = (s[:, 0, 0] > s[:, 0, 1]) & (s[:, 1, 1] > s[:, 1, 0])
    for name, right in answers.items():
        ends = redraw.interval(redraw.mean(right.astype(float)), np.arange(len(right)), seed=seed)
        report.add(Figure(name, float(right.mean()), *ends, count=len(right)))
    if "differ, blind" in answers:
        report.add(_enrichment(answers["differ, blind"], answers["differ, control"], seed))
    if not answers:
        report.add(Text(f"cannot tell what is confused: there is no column {column!r} to ask, and no texts", "verdict"))
    shown = []
    for i, j in blind.tolist():
        s, r = float(a[i] @ a[j]), float(b[i] @ b[j])
        why = f"cosine {s:.3f} under A, {r:.3f} under B"
        shown.append(Example([str(collection.ids[i]), str(collection.ids[j])], why, (s, r)))
    if "differ, blind" in answers:
        report.add(_finding(answers["differ, blind"], answers["differ, control"], shown, column, seed))
    return report.add(Examples("Pairs that A cannot tell apart", shown))


def _finding(blind: np.ndarray, control: np.ndarray, shown: list[Example], column: str, seed: int) -> Finding | Text:
    both, is_blind = np.concatenate([blind, control]).astype(float), np.arange(len(blind) + len(control)) < len(blind)
    more = difference(both, is_blind, np.arange(len(both)), seed=seed, alternative="greater")
    if more is None:
        return Text("cannot tell: too few pairs", "verdict")
    figure = Figure(f"look-alikes of another {column}", more.value, more.low, more.high, len(both))
    said = (
        f"pairs that the model takes for the same differ in {column} more often than others as near: {blind.mean():.0%}"
    )
    worst = [example for example, differs in zip(shown, blind, strict=True) if differs][:_SHOWN]
    return Finding(figure, said, more.p, examples=worst, mend="tellapart run {data} --set sample=ngame")


def _enrichment(blind: np.ndarray, control: np.ndarray, seed: int) -> Figure:
    differ, is_blind = np.concatenate([blind, control]).astype(float), np.arange(len(blind) + len(control)) < len(blind)

    def ratio(times: np.ndarray) -> float:
        top, base = (((times * differ)[m].sum() + 0.5) / (times[m].sum() + 1) for m in (is_blind, ~is_blind))
        return float(top / base)

    ends = redraw.interval(ratio, np.arange(len(differ)), seed=seed, ends=(0.0, np.inf))
    note = "how many times as often the pairs differ as others of the same nearness"
    return Figure("enrichment", ratio(np.ones(len(differ))), *ends, count=len(differ), note=note)
