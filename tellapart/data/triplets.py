"""Rows of reference, change and target made of pictures with captions: more positives for composed queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.plan import generator
from tellapart.data.identity import normal
from tellapart.data.provenance import about, with_about

TEMPLATE = "instead of {}, {}"
AT_ONCE = 512


def mined(
    collection: Collection,
    z: np.ndarray,
    *,
    captions: Callable[[Sequence[Any]], Sequence[str]] | None = None,
    between: tuple[float, float] = (0.5, 0.9),
    each: int = 2,
    template: str = TEMPLATE,
    seed: int = 0,
) -> Collection:
    """Triplets for `strategy=spn4cir` and its kin: `other_image`, `text`, `image`, with `title`, `reference_title`.

    Two pictures of moderate similarity, that is a cosine in `between`, with captions A and B become "instead of A, B"
    (SPN4CIR's template, Feng et al., 2024). Pairs of one caption, of one duplicate group or of two parts of a split are
    left out. Rows of a reference carry its `concept` and `split`, and its own `cosine` to the target.

    Args:
        collection: with `image`, and `text` unless `captions` are given.
        z: [n, d] vectors of the pictures, such as `embed` gives.
        captions: from pictures, as they stand in the column, to one text each: any model that describes pictures.
        between: least and greatest cosine. Which are moderate depends on the encoder: look at some rows.
        each: targets a reference, drawn among all that fit.
        template: with two places, for the caption of the reference and that of the target.

    Raises:
        DataError: no captions, vectors that do not fit, a template without two places, or no pair that fits.
    """
    if "image" not in collection.columns or (captions is None and "text" not in collection.columns):
        raise DataError("give pictures with captions in columns `image` and `text`, or captions= to describe them")
    if z.shape[:1] != (len(collection),) or z.ndim != 2 or not np.isfinite(z).all():
        raise DataError(f"give one finite vector for each of the {len(collection)} pictures, not {z.shape}")
    if template.count("{}") != 2 or each < 1 or not -1 <= between[0] < between[1] <= 1:
        raise DataError("a template has two {}, each is 1 or more, and between is a rising pair of cosines")
    images = collection.values("image")
    texts = list(captions(images)) if captions is not None else [text or "" for text in collection.values("text")]
    if len(texts) != len(images):
        raise DataError(f"captions= gave {len(texts)} texts for {len(images)} pictures")
    pairs = _pairs(collection, z, [normal(text) for text in texts], between, each, seed)
    if not pairs:
        raise DataError(
            f"no two pictures with different captions have a cosine from {between[0]:g} to {between[1]:g}: give "
            "another range in between="
        )
    a, b = np.asarray([pair[:2] for pair in pairs], np.int64).T
    columns: dict[str, Any] = {
        "id": [f"{collection.ids[i]} to {collection.ids[j]}" for i, j in zip(a, b, strict=True)],
        "other_image": collection["image"].combine_chunks().take(pa.array(a)),
        "text": [template.format(texts[i], texts[j]) for i, j in zip(a, b, strict=True)],
        "image": collection["image"].combine_chunks().take(pa.array(b)),
        "reference_title": [texts[i] for i in a],
        "title": [texts[j] for j in b],
        "cosine": [pair[2] for pair in pairs],
    }
    for name in ("concept", "split"):
        if name in collection.columns:
            columns[name] = collection[name].combine_chunks().take(pa.array(a))
    made = Collection(pa.table(columns), root=collection.root)
    kept = {name: value for name, value in about(collection).items() if name not in ("notes", "groups_at")}
    return with_about(made, **kept, notes=[f"{len(made)} triplets were made of captions by {template!r}"])


def _pairs(
    collection: Collection, z: np.ndarray, texts: list[str], between: tuple[float, float], each: int, seed: int
) -> list[tuple[int, int, float]]:
    unit = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    said = np.unique(np.asarray([text or "\0" for text in texts]), return_inverse=True)[1].reshape(-1)
    told = np.asarray([bool(text) for text in texts])
    apart = [collection.codes(name)[0] for name in ("group",) if name in collection.columns]
    alike = [collection.codes(name)[0] for name in ("split",) if name in collection.columns]
    rng, found = generator(seed, 0), []
    for start in range(0, len(unit), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        scores = unit[rows] @ unit.T
        fits = (scores >= between[0]) & (scores <= between[1]) & (said[rows, None] != said) & told[rows, None] & told
        for codes in apart:
            fits &= codes[rows, None] != codes
        for codes in alike:
            fits &= codes[rows, None] == codes
        for place in range(len(scores)):
            others = np.flatnonzero(fits[place])
            for other in np.sort(rng.permutation(others)[:each]):
                found.append((start + place, int(other), float(scores[place, other])))
    return found
