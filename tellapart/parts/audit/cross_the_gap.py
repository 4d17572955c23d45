"""Intra-modal misalignment: whether pictures are found better through words than by each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.gains import gain
from tellapart.core.parts import part
from tellapart.core.report import Figure, Finding, Report, Text

_FEWEST = 30


@part(
    paper="Mistretta, Baldrati, Agnolucci, Bertini, Bagdanov: Cross the Gap: Exposing the Intra-modal Misalignment in "
    "CLIP via Modality Inversion, ICLR 2025",
    place="audit",
    system="cross-the-gap",
    traits=("image", "text-encoder", "long"),
    needs=("torch",),
    aliases=("modality-inversion",),
)
def cross_the_gap(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "",
    template: str = "a photo of *",
    queries: Annotated[int, Field(ge=10, le=5000)] = 100,
    steps: Annotated[int, Field(ge=1, le=2000)] = 150,
    rate: Annotated[float, Field(gt=0, le=1)] = 0.02,
    items: Annotated[int, Field(ge=50, le=20_000)] = 2000,
) -> Report:
    """What a search of pictures by pictures loses because training never compared two pictures.

    Formula: image features z_i; for each asked i a pseudo token v_i takes the place of a word,
        v_i = argmin 1 - cos(text tower("a photo of v_i"), z_i)   (AdamW, `steps` at `rate`: textual inversion, OTI)
        asked within one side:      cos(z_i, z_j);      asked across:  cos(text tower("a photo of v_i"), z_j)
    and the mean average precision (mAP) of each over the other pictures of equal `by`. The finding is across less
    within. Its p is that of a sign test over asked items in which one in a hundred is first forgiven. `inverted` is the
    mean cosine that inversion reached; where it is low, the tower cannot say what the pictures show.

    Taken from the paper: textual inversion with one token and its numbers. Left out: visual inversion of texts, which
    needs pictures' patch tokens. Use it on a run of pictures and texts whose pictures are also searched by pictures. It
    takes minutes: 100 items times 150 steps through the text encoder.

    Args:
        vectors: `image` [n, d]: unit vectors of pictures; `text-encoder`: with `encoder`, a trainable encoder of texts,
            and `stages`, the dense layers behind it; `document`: frozen features, for comparison where they are there.
        by: column of equal values that are right; "" takes `label`, what the columns say is a target, or `group`.
        template: a text with `*` in the place of the word. queries: how many items are asked.

    Raises `DataError` for rows that do not match, no such column, or nothing that two items share.

    Relations: `modality-gap` measures the gap itself; `cua` and `cuaxu` add terms within each side to the loss.
    """
    n = len(collection)
    if len(vectors.get("image", ())) != n:
        raise DataError(f"give `image` for each of the {n} items")
    codes = _codes(collection, by)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, min(items, n), replace=False))
    z, codes = unit_rows(matrix(np.asarray(vectors["image"])[rows], what="image")), codes[rows]
    right = (codes[:, None] == codes) & (codes[:, None] >= 0) & ~np.eye(len(rows), dtype=bool)
    asked = np.flatnonzero(right.any(axis=1))
    asked = np.sort(rng.permutation(asked)[:queries])
    if not len(asked):
        raise DataError("no two items share a value: name a column that some do (by=…)")
    report = Report("Across the gap", facts={"seed": seed, "items": len(rows), "asked": len(asked), "steps": steps})
    if len(asked) < _FEWEST:
        report.add(Text(f"cannot tell: {len(asked)} items to ask, and at least {_FEWEST} are needed", "verdict"))
    group = collection.numbers("group")[rows[asked]] if "group" in collection.columns else asked
    within = _precision(z[asked] @ z.T, right[asked], asked)
    report.add(_figure("mAP within one side", within, group, seed))
    if len(vectors.get("document", ())) == n:
        raw = unit_rows(matrix(np.asarray(vectors["document"])[rows], what="document"))
        report.add(_figure("mAP of frozen features", _precision(raw[asked] @ raw.T, right[asked], asked), group, seed))
    tower = vectors.get("text-encoder")
    if tower is None or not hasattr(getattr(tower, "encoder", None), "module"):
        said = "cannot tell what inversion would find: the text encoder's words cannot be replaced"
        return report.add(Text(said, "verdict"))
    from tellapart.core.pseudo_tokens import invert

    w = invert(tower.encoder, tower.stages, z[asked], template=template, steps=steps, rate=rate, seed=seed)
    report.add(_figure("inverted", np.einsum("nd,nd->n", w, z[asked]), group, seed))
    across = _precision(w @ z.T, right[asked], asked)
    report.add(_figure("mAP across", across, group, seed))
    more = gain(within, across, group, seed=seed)
    figure = Figure("lost by asking within one side", more.value, more.low, more.high, more.count, note="mAP")
    said = (
        f"pictures asked through the text tower find {more.value:+.3f} mAP more of their like than pictures by pictures"
    )
    return report.add(
        Finding(
            figure,
            said,
            more.p,
            ids=[str(i) for i in collection.ids[rows[asked]]],
            values=more.values.tolist(),
            mend="tellapart run {data} --set objective=cua",
        )
    )


def _precision(scores: np.ndarray, right: np.ndarray, own: np.ndarray) -> np.ndarray:
    """[q] average precision of each query over all columns but its own."""
    out = np.empty(len(scores))
    for i, (s, good) in enumerate(zip(scores, right, strict=True)):
        order = np.argsort(-np.delete(s, own[i]), kind="stable")
        hit = np.delete(good, own[i])[order]
        out[i] = (np.cumsum(hit)[hit] / (np.flatnonzero(hit) + 1)).mean()
    return out


def _codes(collection: Collection, by: str) -> np.ndarray:
    if by and by not in collection.columns:
        raise DataError(f"there is no column {by!r}; there are {', '.join(collection.columns)}")
    target = collection.sides().target if {"image", "anchor"} & set(collection.columns) else None
    name = by or next((c for c in ("label", target, "group") if c and c in collection.columns), "")
    if not name:
        raise DataError("name the column of equal values that are right: by=…")
    return np.asarray(collection.codes(name)[0])


def _figure(name: str, values: np.ndarray, group: np.ndarray, seed: int) -> Figure:
    low, high = redraw.interval(redraw.mean(values), group, seed=seed, ends=(-1.0, 1.0))
    return Figure(name, float(values.mean()), low, high, len(values), note="" if low is not None else "too few")
