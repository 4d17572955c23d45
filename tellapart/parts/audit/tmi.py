"""TMI: which of several encoders a task should be built on, by how much its classes vary inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.needs import require
from tellapart.core.parts import make, part
from tellapart.core.redraw import Z
from tellapart.core.report import Figure, Report, Table, Text

_FEWEST, _FLOOR, _PIECES = 60, 1e-6, 10


@part(
    paper="Xu and Kang, Fast and Accurate Transferability Measurement by Evaluating Intra-class Feature Variance, "
    "ICCV 2023",
    place="audit",
    system="tmi",
    traits=("document", "labels", "asks"),
    needs=("scipy",),
    aliases=("transferability",),
)
def tmi(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    encoders: str = "",
    by: str = "label",
    k: Annotated[int, Field(ge=1, le=50)] = 3,
    floor: Annotated[float, Field(ge=0, le=1e6)] = 0.0,
    dimensions: Annotated[int, Field(ge=0, le=4096)] = 32,
    items: Annotated[int, Field(ge=60, le=20_000)] = 2000,
) -> Report:
    """How transferable features are to labels: the entropy of the features within each class, weighed by class.

    Formula, for the features Z_c [n_c, d] of each class c of n items:
        TMI = sum_c n_c / n * h(Z_c),   h = psi(n_c) - psi(k) + d / n_c * sum_i log(2 e_i),
    e_i the distance, by the largest difference of a number, from item i to the k-th nearest of its class (Kozachenko
    and Leonenko, 1987); higher is more transferable. A class of at most k items is left out of the sum.

    The entropy grows with the scale and the number of features, so encoders can be compared only on a common footing:
    features are brought to their first `dimensions` principal directions, each with variance 1 over all items (0: the
    features as they are, as the paper has it). Then what is higher is variance inside of classes relative to all. The
    distance is at least `floor` (the authors' code has 1, which decides much where features are small; here 0 and a
    millionth, for items that are equal).

    Beside it stands the accuracy of the five nearest neighbours among the other items, which is as quick. The interval
    is by the jackknife over ten pieces of the items. Written from the formula alone; the authors' code is not free.

    Use it to see how the published score orders encoders; to choose one, believe `5 nearest` beside it. In the
    evidence, where candidates differ in how much noise they carry and not only in what they were trained on, that
    accuracy orders them far better than TMI does: entropy inside of classes is what noise has too.

    Args:
        vectors: `document` [n, d]: frozen features of the encoder that is in use.
        encoders: specs of others, with semicolons between, such as "lite0;hog"; they read the column of pictures or of
            texts, whichever they are made for. by: the column of labels. items: above so many, so many are drawn.

    Raises `DataError` for rows that do not match, fewer than two labels, or a part that encodes nothing here.
    """
    if len(collection) != len(vectors.get("document", ())):
        raise DataError(f"give `document` for each of the {len(collection)} items")
    if by not in collection.columns:
        raise DataError(f"there is no column {by!r}; there are {', '.join(collection.columns)}")
    codes, _ = collection.codes(by)
    rows = np.flatnonzero(codes >= 0)
    rng = np.random.default_rng(seed)
    rows = rows if len(rows) <= items else np.sort(rng.choice(rows, items, replace=False))
    if len(np.unique(codes[rows])) < 2 or len(rows) < 2 * (k + 1):
        raise DataError(f"{len(rows)} items of {len(np.unique(codes[rows]))} labels in {by!r}: nothing can be compared")
    report = Report("Transferability", facts={"seed": seed, "items": len(rows), "k": k})
    if len(rows) < _FEWEST:
        report.add(Text(f"cannot tell: {len(rows)} labelled items, and at least {_FEWEST} are needed", "verdict"))
    named = {"document": matrix(np.asarray(vectors["document"])[rows], what="document")}
    given = filter(None, map(str.strip, encoders.split(";")))
    named |= {spec: _encoded(spec, vectors, collection, rows) for spec in given}
    piece, table = rng.permutation(len(rows)) % _PIECES, []
    for name, x in named.items():
        z = _common(x, dimensions)
        value = _entropy(z, codes[rows], k, floor)
        without = np.array([_entropy(z[piece != f], codes[rows][piece != f], k, floor) for f in range(_PIECES)])
        wide = Z * float(np.sqrt((_PIECES - 1) / _PIECES * ((without - without.mean()) ** 2).sum()))
        near = _neighbours(z, codes[rows])
        figures = [Figure(f"TMI, {name}", value, value - wide, value + wide, len(rows), unit="nats")]
        figures.append(Figure(f"5 nearest, {name}", near, count=len(rows), note="of these items: no interval"))
        report.add(*figures)
        table.append([name, x.shape[1], *figures])
    table.sort(key=lambda row: -row[2].value)
    note = "the first is the most transferable by TMI; dimensions are those before the common footing"
    return report.add(Table("Encoders", ["encoder", "dimensions", "TMI", "5 nearest"], table, note))


def _common(x: np.ndarray, dimensions: int) -> np.ndarray:
    """[n, d] the first principal directions, each with variance 1; those without spread are left out."""
    if not dimensions:
        return x
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return np.asarray(u[:, :dimensions][:, s[:dimensions] > 1e-9 * s[0]] * np.sqrt(len(x)))


def _entropy(z: np.ndarray, codes: np.ndarray, k: int, floor: float) -> float:
    from scipy.spatial.distance import cdist
    from scipy.special import digamma

    total, weight = 0.0, 0
    for c in np.unique(codes):
        x = z[codes == c]
        if len(x) > k:
            e = np.partition(cdist(x, x, "chebyshev"), k, axis=1)[:, k]
            spread = x.shape[1] * float(np.log(2 * np.maximum(e, max(floor, _FLOOR))).mean())
            total += len(x) * (float(digamma(len(x)) - digamma(k)) + spread)
            weight += len(x)
    return total / weight if weight else 0.0


def _neighbours(z: np.ndarray, codes: np.ndarray) -> float:
    """Accuracy of the most frequent label of the five nearest others."""
    knn = require("sklearn.neighbors", "the five nearest")
    _, y = np.unique(codes, return_inverse=True)
    near = knn.NearestNeighbors(n_neighbors=min(6, len(z))).fit(z).kneighbors(z, return_distance=False)
    said = [np.bincount(y[[j for j in row if j != i][:5]]).argmax() for i, row in enumerate(near)]
    return float((np.array(said) == y).mean())


def _encoded(spec: str, vectors: Mapping[str, Any], collection: Collection, rows: np.ndarray) -> np.ndarray:
    encoder = make("encode", spec)
    if getattr(encoder, "modality", "") == "image" and "pictures" in vectors:
        return matrix(encoder.encode([vectors["pictures"][row] for row in rows]), what=spec)
    sides = collection.sides()
    column = next((s.column for s in (sides.document, sides.query) if s.modality == "text"), "")
    if getattr(encoder, "modality", "") != "text" or not column:
        raise DataError(f"{spec} encodes nothing that is in this collection")
    return matrix(encoder.encode([str(v) for v in collection.take(rows).values(column)]), what=spec)
