"""Gaussian noise on the vectors of the rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.parts import part

RADIUS, ANGLE = 11, 12


@part(paper="(plain baseline)", place="augment", traits=("features", "label", "pairing"), needs=("torch",))
def feature_noise(enc: Encoded, *, rng: RowDraws, strength: Annotated[float, Field(ge=0, le=10)] = 0.1) -> Encoded:
    """Move each row's vector a little in a random direction.

    Formula, for a row with unit vector q of d numbers, g of d independent standard normal numbers::

        q' = | q + strength * g / sqrt(d) |

    so that the noise is about `strength` long whatever d is. The columns stay where they are: they are shared by all
    rows, and draws belong to rows. The gradient flows through to q.

    Inputs: a block of rows against all columns, and draws that belong to the rows (Box and Muller make them normal).

    Recommended as the plainest thing that a method on features has to beat, and with few pairs as a regulariser.

    Relations:
        - `mochi` moves negatives towards the row instead of the row anywhere.
    """
    d = enc.q.shape[1]
    radius = (-2.0 * (1.0 - rng.uniform(d, stream=RADIUS)).log()).sqrt()
    noise = radius * (2.0 * math.pi * rng.uniform(d, stream=ANGLE)).cos()
    moved = unit(unit(enc.q) + strength / math.sqrt(d) * noise)
    return replace(enc, q=moved.to(enc.q.dtype))
