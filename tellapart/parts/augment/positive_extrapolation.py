"""Feature transformation, positive half: the pair is drawn apart, so that it has to be brought closer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.mixing import shared_positives, with_positives_apart
from tellapart.core.parts import part

SHARE = 21


@part(
    paper="Zhu, Zhao, Liu, Sun, Chen: Improving Contrastive Learning by Visualizing Feature Transformation, ICCV 2021",
    place="augment",
    system="cl-feature-transform",
    traits=("features", "label", "pairing", "replaces"),
    needs=("torch",),
)
def positive_extrapolation(
    enc: Encoded, *, rng: RowDraws, alpha: Annotated[float, Field(ge=0.5, le=100)] = 2.0
) -> Encoded:
    """Score every positive as if row and positive stood further apart, each pushed away from the other.

    Formula, for a row q and a positive k of cosine c, both of unit length, and a the same for all pairs of a step::

        q' = a q + (1 - a) k,   k' = a k + (1 - a) q,   a = 1 + Beta(alpha, alpha),   s' = cos(q', k')
           = (c + 2 a (a - 1) (c - 1)) / (1 + 2 a (a - 1) (1 - c))  <=  c

    A row's columns are all scored against q, so the pair is turned back until q' lies on q. The positive is then an own
    column of the row, of unit length, in the plane of q and k, with the cosine s' to q::

        p = ((2 a - 1) k - 2 (a - 1) (a - (a - 1) c) q) / (1 + 2 a (a - 1) (1 - c))

    and the column it stood in is nothing to the row any more. The gradient flows through to q and k. Own columns that
    are positives stay as they are, and a row without a common positive is left alone.

    What was taken: one number a step and alpha = 2, as in the released code. There q' and k' are not brought back to
    unit length, so that a pair at a right angle may score -4; here scores stay cosines. There q' also meets the
    negatives, of which the paper's formula says nothing; here these are scored against q.

    Recommended where positives have become too easy: their mean score is near 1 early in training (views of one picture
    by weak augmentation, captions cut from one text). Where pairs are noisy it pulls harder at wrong pairs.

    Relations:
        - `negative-interpolation` is the paper's other half: "positive-extrapolation|negative-interpolation" is both.
        - A guide's vector of the positive goes with it, so `gist-embed` works after it; `drop-near-positive` then
          measures against the harder positive and drops more.
        - `claps` makes positives that are far by what the columns say of them, not by one formula for all.
    """
    at = shared_positives(enc)
    a = 1.0 + rng.of_step().beta(alpha, 1, stream=SHARE).to(enc.rel.pos.dtype)
    q, k = unit(enc.q)[at.row], unit(enc.k)[at.col]
    c = (q * k).sum(1, keepdim=True)
    apart = (2 * a - 1) * k - 2 * (a - 1) * (a - (a - 1) * c) * q
    return with_positives_apart(enc, at, unit(apart))
