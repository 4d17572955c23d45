"""Labels that a few trusted items of each class do not bear out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.crossfit import judged, trusted
from tellapart.core.divided import principal
from tellapart.core.errors import DataError
from tellapart.core.features import softmax, unit_rows
from tellapart.core.findings import Findings
from tellapart.core.parts import make, part


@part(
    paper="Qin et al., FoPro: Few-Shot Guided Robust Webly-Supervised Prototypical Learning, AAAI 2023",
    place="curate",
    system="fopro",
    traits=("labels", "trusted", "document"),
    needs=("sklearn",),
    aliases=("fopro",),
)
def trusted_prototypes(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    rounds: Annotated[int, Field(ge=1, le=20)] = 3,
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
    classifier: Annotated[float, Field(ge=0, le=1)] = 0.5,
    sure: Annotated[float, Field(gt=0, lt=1)] = 0.8,
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.999,
    ridge: Annotated[float, Field(gt=0, le=1e6)] = 0.1,
    dim: Annotated[int, Field(ge=1, le=4096)] = 64,
    folds: Annotated[int, Field(ge=2, le=100)] = 5,
    classify: str = "logistic-regression(c=0.1)",
) -> Findings:
    """Items that are neither near the trusted items of their class nor what a classifier makes of its other items.

    Formula, for the items of a fold, of what is kept of the other folds (at first all) and of all trusted items; u are
    the first `dim` principal directions of the features (unit length, standardised), whitened:
        p_i = probabilities by a classifier fitted there.
        z = u A, brought to unit length: A whitens the scatter within classes, plus `ridge` times its mean variance, and
            keeps the directions in which the class means differ, those of singular values above 1e-6 of the largest.
        t_c = mean z of the trusted items of class c; m_c = mean z of the n_c other kept items of class c;
            w_c = momentum^(r n_c) in round r = 0, 1, …; prototype k_c = w_c t_c + (1 - w_c) m_c, to unit length.
        phi_c = `temperature` in round 0, then the density sum |z - k_c| / (n_c log(n_c + 10)) over these, scaled to
            the mean `temperature` over the classes with n_c > 0; the others have `temperature`.
        s_i = `classifier` p_i + (1 - `classifier`) softmax_c(z_i k_c / phi_c).
        The likeliest label where its s_i > `sure`; else the given one is kept where s_i,given > 1 / classes; else the
        item is left out. Trusted items are always kept. The next round learns from that.
        score_i = (1 - s_i,given) / 2, and 1/2 more where the last round says `relabel` (another label is surely the
        likeliest) or `drop` (left out); proposed from 1/2 on.

    Use it where many labels came cheaply (a search, a tag) and a few of each class were looked at, best of the kind
    that the model will meet: they say what a class is where the many mean something else by it.

    Relations: `label-errors` and `web-labels` need no trusted items, and believe what most say.

    Taken from the paper and its published code: prototypes of the few, soft target, both thresholds, polishing by kept
    items, density. Not taken: the encoder is frozen and has no queue, so the prototypical contrastive loss is done by
    A alone, in closed form; A is the learnt metric too, there is no relation network and no comparison of profiles; the
    average of a step an item is taken of a round at once; the density is scaled. Each item is judged by a model that
    has not seen it. Learning again from what is kept is `tellapart run` on the curated folder.

    Args:
        vectors: `document` [n, d].
        collection: with `label`, and `trusted` (yes/no, true/false or 1/0). Items without a label, and of classes
            without a trusted item, are not looked at, nor are trusted ones. `near` or `group` is kept in one fold.
        classifier: its share of the soft target; the prototypes have the rest.
        classify: spec of the classifier.

    Raises `DataError` for no labels or trusted items, fewer than two classes that have one and five items, no item that
    is not trusted, rows that do not match, or values that are not finite.
    """
    held, told = judged(vectors, collection, folds=folds, seed=seed), trusted(collection)
    rows = np.isin(held.codes, held.codes[told[held.rows]])
    classes, codes = np.unique(held.codes[rows], return_inverse=True)
    ours, fold, place = told[held.rows][rows], held.fold[rows], held.rows[rows]
    if len(classes) < 2 or ours.all():
        raise DataError("give two classes or more of which some items are trusted and others are not, in `trusted`")
    u, now, kept = principal(held.x[rows], dim), codes.copy(), np.ones(len(codes), bool)
    soft = np.zeros((len(codes), len(classes)))
    for turn in range(rounds):
        for f in np.unique(fold):
            own, rest = (fold == f) & ~ours, (kept & (fold != f)) | ours
            made = make("classify", classify).fit(u[rest].astype(np.float32), now[rest])
            z = _projected(u, now, rest, ridge)
            centre, phi = _prototypes(z, now, ours, rest & ~ours, temperature, momentum, turn)
            near = softmax(z[own] @ centre.T / phi)
            soft[own] = classifier * made.predict_proba(u[own].astype(np.float32)) + (1 - classifier) * near
        given, likeliest = soft[np.arange(len(codes)), codes], soft.argmax(axis=1)
        surely = ~ours & (soft.max(axis=1) > sure)
        now = np.where(surely, likeliest, codes)
        kept = ours | surely | (given > 1 / len(classes))
    names = [held.names[c] for c in classes]
    wrong = ~kept | (now != codes)
    score = np.where(wrong, 1 - given / 2, np.minimum((1 - given) / 2, 0.499))
    reasons = [
        f"labelled {names[c]!r}: {g:.0%}; {s.max():.0%} {names[s.argmax()]!r}, by trusted items and what is kept"
        for c, g, s in zip(codes, given, soft, strict=True)
    ]
    actions = np.where(~kept, "drop", np.where(wrong, "relabel", "look"))
    to = [names[c] if action == "relabel" else "" for c, action in zip(now, actions, strict=True)]
    seen = np.flatnonzero(~ours)
    said, towards, why = ([each[i] for i in seen] for each in (actions.tolist(), to, reasons))
    ids = collection.ids[place[seen]]
    return Findings.of("trusted-prototypes", ids, score[seen], shown=0.5, action=said, reasons=why, to=towards)


def _projected(u: np.ndarray, codes: np.ndarray, rest: np.ndarray, ridge: float) -> np.ndarray:
    """[n, directions] of unit length, in which the classes of these rows are apart."""
    own = codes[rest]
    size = np.bincount(own)
    means = np.stack([np.bincount(own, column) for column in u[rest].T], axis=1) / size[:, None]
    within = (u[rest] - means[own]).T @ (u[rest] - means[own]) / len(own)
    within += max(ridge * np.trace(within) / len(within), 1e-12) * np.eye(len(within))
    values, turn = np.linalg.eigh(within)
    whiten = turn / np.sqrt(values) @ turn.T
    middle = u[rest].mean(axis=0)
    _, s, v = np.linalg.svd((means - middle) @ whiten, full_matrices=False)
    return unit_rows((u - middle) @ whiten @ v[s > 1e-6 * s[0]].T)


def _prototypes(
    z: np.ndarray, codes: np.ndarray, ours: np.ndarray, kept: np.ndarray, temperature: float, momentum: float, turn: int
) -> tuple[np.ndarray, np.ndarray]:
    """[classes, d] unit vectors and [classes] temperatures, of trusted items and of others that are kept."""
    centre, phi = np.zeros((codes.max() + 1, z.shape[1])), np.zeros(codes.max() + 1)
    for c in range(len(centre)):
        some = z[kept & (codes == c)]
        weight = momentum ** (turn * len(some))
        centre[c] = weight * z[ours & (codes == c)].mean(axis=0) + (1 - weight) * (
            some.mean(axis=0) if len(some) else 0
        )
        centre[c] /= max(float(np.linalg.norm(centre[c])), 1e-12)
        if turn and len(some):
            phi[c] = np.linalg.norm(some - centre[c], axis=1).mean() / np.log(len(some) + 10)
    some = phi > 0
    return centre, np.where(some, phi * temperature / (phi[some].mean() if some.any() else 1), temperature)
