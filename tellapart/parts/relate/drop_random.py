"""Drop a random share of the negatives."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.parts import part
from tellapart.core.relation import Relation

STREAM = 0x0D6C


@part(paper="(plain baseline)", place="pairs", traits=("rowwise", "random"), needs=("torch",))
def drop_random(enc: Encoded, *, rng: RowDraws, share: Annotated[float, Field(ge=0, le=1)] = 0.1) -> Relation:
    """Drop each negative with one chance, whatever it is: the control for rules that choose.

    Formula, with u_ij uniform on [0, 1)::

        neg_ij = 0  where  u_ij < share,  else unchanged

    Inputs: a block of rows against all columns, and draws that belong to the rows. Gives the relation with fewer
    negatives; positives stay.

    Recommended beside `gist-embed` or `drop-near-positive` in a comparison, with the share that they drop: what they
    gain over it is due to which negatives they drop, not to how many.
    """
    return enc.rel.without_negatives(rng.uniform(enc.rel.shape[1], stream=STREAM) < share)
