"""Which place of a picture is like none of normal pictures: anchors, smoothing by each other, an adapter."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.plan import kmeans
from tellapart.parts.score._adapted import adapted, chances

_MOST = 4000


@part(
    paper="Deng et al., AnoVL: Adapting Vision-Language Models for Unified Zero-shot Anomaly Localization, 2023",
    place="detect",
    system="anovl",
    traits=("unknown", "positions"),
    needs=("torch", "sklearn"),
)
class Anovl:
    """Which part of a picture is odd, by vectors of its positions: a map of chances, and their largest as its score.

    Formula, for the unit vectors x_i of one picture's positions, the anchors c_j and the level l::

        v_i = unit(sum_j a_ij x_j),  a_i = softmax_j(x_i . x_j / smoothing)             value-value self-similarity
        p_i = sigmoid((l - max_j v_i . c_j) / temperature)                              the softmax of two anchors
        map = the mean of p over the 3 x 3 positions around each;   score = max map.  Higher = more unknown.

    The anchors are the unit means of `anchors` clusters (k-means) of smoothed positions of normal pictures; l is the
    cosine to the nearest anchor below which a share `tail` of these positions lies. The level is the abnormal anchor:
    a coordinate of its own, in which a normal anchor is 0 and a position, z_i = (v_i, 1), is 1. With T the rows
    (c_j / anchors, 0) and (0, l), an adapter moves positions before p; W, b begin at 0, trained on each picture anew::

        z'_i = |z_i| unit(0.5 z_i + 0.5 tanh(W z_i + b) T)
        loss = mean_i entropy(p'_i) + 0.5 mean_i -log p'(noisy_i) + 0.5 mean_i -(1 - m_i) log(1 - p'_i)

    for `steps` steps of AdamW at rate 0.001, m_i = 1 where p_i > 0.5 without it (the pseudo-label), noisy_i =
    unit(v_i + e_i), e_i Gaussian of length about `noise`, the same draws for every picture.

    Taken from the paper and the authors' code: value-value attention, the halves of the adapter, its loss and its
    noise (0.055 a coordinate, about 1.4 in all), the 3 x 3 mean. Different: they ask CLIP's texts of normal and
    abnormal states, and need no pictures; this needs normal pictures and no texts, since no packaged encoder ties words
    to positions. So it is not zero-shot. Vectors are of a convolutional network, which are local as they are: smoothing
    acts on its last maps, and how far is free (they: the attention's own scale, on unit vectors near to the plain
    mean). The adapter begins as the identity, and many anchors move a position no further than one does. No vector of
    the whole picture enters the score.

    Args:
        anchors: clusters; fewer where there are fewer distinct positions. smoothing: near 0 leaves positions alone.
        tail, temperature: of p. steps: 0 is no adapter. noise: length of what is added, beside unit vectors.

    When to use: normal pictures that look alike, and the question where another one does not. On faults pasted into
    pictures the anchors alone did as well; that smoothing or adapter add to them is not shown (see the evidence):
    `steps` = 0 and a small `smoothing` leave them out, and cost less.

    Relations: `knn` on vectors of whole pictures says whether, not where.

    Shapes: x [n, h, w, d], as `encode_positions` of an image encoder gives; map [n, h, w], score [n] float32. A picture
    costs (h w)^2 d, and a step 2 h w (anchors + 1) d. Raises `DataError` for what is not positions, or not finite.
    """

    def __init__(
        self,
        *,
        anchors: Annotated[int, Field(ge=1, le=5000)] = 50,
        smoothing: Annotated[float, Field(ge=1e-4, le=100)] = 0.03,
        tail: Annotated[float, Field(gt=0, lt=1)] = 0.02,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.07,
        steps: Annotated[int, Field(ge=0, le=1000)] = 5,
        noise: Annotated[float, Field(gt=0, le=100)] = 1.4,
    ) -> None:
        self.anchors, self.smoothing = anchors, smoothing
        self.tail, self.temperature = tail, temperature
        self.steps, self.noise = steps, noise

    def fit(self, x: Any, y: Any = None) -> Anovl:
        """Learn anchors and level from positions of normal pictures; labels are not used."""
        x = _positions(x)
        rng = np.random.default_rng(0)
        # As many of each picture, so that neither memory nor time grows with their number.
        each = max(1, min(x.shape[1] * x.shape[2], _MOST // len(x)))
        some = x if len(x) <= _MOST else x[rng.choice(len(x), _MOST, replace=False)]
        v = np.concatenate([rng.permutation(self.smoothed(picture))[:each] for picture in some])
        distinct = len(np.unique(v.round(6), axis=0))
        code = kmeans(v.astype(np.float32), min(self.anchors, distinct), 0)
        self.anchors_ = _unit(np.stack([v[code == c].mean(axis=0) for c in np.unique(code)]))
        self.level_ = float(np.quantile((v @ self.anchors_.T).max(axis=1), self.tail))
        return self

    def smoothed(self, picture: np.ndarray) -> np.ndarray:
        """[h * w, d] unit vectors of one picture's positions [h, w, d], each after its look at the others."""
        x = _unit(np.asarray(picture, np.float64).reshape(-1, np.shape(picture)[-1]))
        alike = x @ x.T / self.smoothing
        weight = np.exp(alike - alike.max(axis=1, keepdims=True))
        return _unit(weight / weight.sum(axis=1, keepdims=True) @ x)

    def maps(self, x: Any) -> np.ndarray:
        """[n, h, w] float32 in 0..1: how little each position is like any of normal pictures."""
        if not hasattr(self, "anchors_"):
            raise DataError("anovl has not been fitted yet: call fit(x) with positions of normal pictures first")
        x = _positions(x, dim=self.anchors_.shape[1])
        found = np.empty(x.shape[:3], np.float32)
        for at, picture in enumerate(x):
            v = self.smoothed(picture)
            if self.steps:
                p = adapted(v, self.anchors_, self.level_, temperature=self.temperature, steps=self.steps,
                            noise=self.noise)  # fmt: skip
            else:
                p = chances((v @ self.anchors_.T).max(axis=1), self.level_, self.temperature)
            found[at] = _around(p.reshape(x.shape[1:3]))
        return found

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown: the largest of each picture's map."""
        return self.maps(x).max(axis=(1, 2))


def _around(p: np.ndarray) -> np.ndarray:
    """Means over 3 x 3, at the rim over those that lie inside."""
    wide, inside = np.pad(p, 1), np.pad(np.ones_like(p), 1)
    views = [np.lib.stride_tricks.sliding_window_view(x, (3, 3)).sum(axis=(2, 3)) for x in (wide, inside)]
    found: np.ndarray = views[0] / views[1]
    return found


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _positions(x: Any, *, dim: int | None = None) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 4 or not x.size or x.dtype.kind not in "fiu":
        raise DataError(
            f"anovl takes positions of pictures, [n, h, w, d], as encode_positions gives them; this is {x.shape}"
        )
    if dim is not None and x.shape[-1] != dim:
        raise DataError(f"positions have {x.shape[-1]} numbers, but {dim} were fitted: use the same encoder")
    bad = ~np.isfinite(x).all(axis=(1, 2, 3))
    if bad.any():
        raise DataError(f"positions are not finite in {int(bad.sum())} pictures; first is row {int(bad.argmax())}")
    return x
