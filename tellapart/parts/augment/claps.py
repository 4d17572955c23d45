"""CLAPS: an impostor close to the positive, and a positive far from the row, by steps along gradients."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.mixing import shared_positives
from tellapart.core.parts import part

WHICH = 41


@part(
    paper="Lee, Lee, Hwang: Contrastive Learning with Adversarial Perturbations for Conditional Text Generation, "
    "ICLR 2021",
    place="augment",
    system="claps",
    traits=("features", "label", "pairing", "replaces"),
    needs=("torch",),
)
def claps(
    enc: Encoded,
    *,
    rng: RowDraws,
    negative_step: Annotated[float, Field(gt=0, le=10)] = 0.3,
    positive_step: Annotated[float, Field(gt=0, le=10)] = 0.6,
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.07,
) -> Encoded:
    """Give every row one more negative that is nearly its positive, and one more positive that is far from it.

    Formula, for row q with a positive y, and the row's columns k_c (its positives and negatives) held fixed. What y
    says is p(c | y) = exp(y . k_c / T) / sum over c' of exp(y . k_c' / T). With |x| for x made of length 1::

        impostor  y- = | y + e |g| |     g = sum_c p(c | y) k_c - y     the slope of -log p(y's own column | y)
        step away y1 = | y + f |u| |     u = -q                         the slope of -cos(q, y)
        distant   y+ = | y1 - f |h| |    h = sum_c (p(c | y1) - p(c | y)) k_c    the slope of KL(p(. | y), p(. | y1))

    each slope taken along the sphere: what of it points along the vector is left out. e = `negative_step` is small, and
    after it y is less taken for itself; f = `positive_step` is large and leads away from the row, and the second step
    brings back what y says. y- is a negative with the mean
    weight of the row's negatives, y+ a positive with the weight of y. With `infonce` the loss is then the mean of the
    paper's two terms, one for y and one for y+, both against the batch and y-. Steps are constants; the gradient flows
    through to y as it stands in y- and y+, and to q.

    Inputs: a block, and draws that choose which of several positives is y. A row without a common positive gets two
    columns that weigh nothing; one without negatives no impostor.

    What was taken: the paper perturbs the hidden states of a text decoder, and p is its language model. Vectors have no
    words to say; their columns stand for the vocabulary here, so that "likely" means "taken for the same item".
    That is an analogy, and the paper's figures are not about it. The released code's second term lacks the temperature;
    here both have it. Its step is of length 3 on vectors of any length.

    Recommended, with care, where items have many near neighbours. The impostor is a made-up false negative: e too large
    is just a negative, too small pushes the positive away.

    Relations:
        - `mochi` mixes towards the row; y- leaves the positive towards what it is confused with.
        - `positive-extrapolation` moves the pair apart without asking whether it still means the same.
    """
    at = shared_positives(enc)
    q, k = unit(enc.q), unit(enc.k)
    mine, drawn = at.has, _drawn(enc, rng)
    y = k[drawn]
    with torch.no_grad():
        related = (enc.rel.pos + enc.rel.neg)[:, : len(k)] > 0
        related[~mine] = True

        def says(x: Tensor) -> Tensor:
            return (x @ k.T / temperature).masked_fill(~related, -torch.inf).softmax(1)

        said = says(y)
        confused = negative_step * _along(said @ k - y, y)
        away = unit(y + positive_step * _along(-q, y))
        far = away - positive_step * _along((says(away) - said) @ k, away) - y
    own = torch.where(mine[:, None, None], unit(torch.stack([y + confused, y + far], 1)), q[:, None])
    count = (enc.rel.neg > 0).sum(1)
    of_negative = torch.where(mine, enc.rel.neg.sum(1) / count.clamp_min(1), 0.0)
    of_positive = enc.rel.pos.gather(1, drawn[:, None])[:, 0]
    none = torch.zeros_like(of_positive)
    return enc.with_own(own.to(enc.k.dtype), torch.stack([none, of_positive], 1), torch.stack([of_negative, none], 1))


def _along(slope: Tensor, at: Tensor) -> Tensor:
    """[n, d] unit vectors of a slope along the sphere at unit vectors; 0 where it points straight out."""
    return unit(slope - (slope * at).sum(1, keepdim=True) * at)


def _drawn(enc: Encoded, rng: RowDraws) -> Tensor:
    """[n] the number of one common positive of each row; 0 where there is none."""
    place = (enc.rel.pos[:, : len(enc.k)] > 0).long().cumsum(1)
    count = place[:, -1:]
    wanted = torch.minimum(1 + (rng.uniform(1, stream=WHICH) * count).long(), count.clamp_min(1))
    return (place >= wanted).int().argmax(1)
