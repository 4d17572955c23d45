"""GISTEmbed: a guide model takes likely false negatives out of the batch."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.relation import Relation

TIE = 8


@part(
    paper="Solatorio: GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning, "
    "arXiv 2024",
    place="pairs",
    system="gist-embed",
    traits=("rowwise", "guide"),
    needs=("torch",),
)
def gist_embed(enc: Encoded, *, rng: RowDraws, margin: Annotated[float, Field(ge=-2, le=2)] = 0.0) -> Relation:
    """Drop a negative that a frozen guide finds closer to the row than the row's own positive.

    Formula, for row i with guide cosines g, weakest positive p* = argmin over positives of g_ip::

        neg_ij = 0  where  g_ij > g_ip* - margin,  else unchanged

    Inputs: a block with `rows["guide_q"]` [n, e] and `cols["guide_k"]` [m, e], the guide's vectors of rows and
    columns (any length; cosines are taken). A row's own columns are judged when `rows["guide_own"]` [n, s, e] is there,
    and left alone otherwise, as are those for which zeros stand there. Gives the relation with fewer negatives;
    positives stay. A row without a positive keeps all its negatives, and a candidate that only rounding tells from the
    bar is kept. Raises ValueError when the guide's vectors are missing.

    What was taken: the paper has one positive a row; of several the weakest sets the bar, because whatever comes as
    close as an accepted positive may be one. The paper has no margin (0); `margin` is the absolute one that
    sentence-transformers added, and a larger one drops more. The paper also throws query-query and document-document
    pairs into the same softmax, each under this rule; here the columns are what the strategy made columns.

    Where the guide knows one side only (captions of pictures, compared with captions), a positive scores 1, nothing is
    above it, and `margin` says how near counts as the same: try 0.2 to 0.5.

    Recommended where many items of a batch mean the same (near-synonyms, clones, captions of one concept) and for
    large batches, where false negatives multiply. The guide may be a larger model or the frozen features themselves.

    Relations:
        - `drop-near-positive` asks the model in training instead of a guide and needs no second model.
        - Known duplicates need no guide: members of one duplicate group are never each other's negatives.
        - `drop-random` with the same share is the control that shows whether the guide's choice matters.
    """
    with torch.no_grad():
        q = unit(enc.need_rows("guide_q", "gist-embed"))
        k = unit(enc.need_cols("guide_k", "gist-embed"))
        score = q @ k.T
        if enc.own is not None:
            of_own = score.new_full((len(q), enc.own.shape[1]), -torch.inf)
            if (judged := enc.rows.get("guide_own")) is not None:
                said = torch.einsum("ne,nse->ns", q, unit(judged))
                of_own[:, : said.shape[1]] = said.masked_fill(~judged.any(2), -torch.inf)
            score = torch.cat([score, of_own], 1)
        known = (enc.rel.pos > 0) & score.isfinite()
        weakest = torch.where(known, score, torch.inf).amin(1, keepdim=True)
        return enc.rel.without_negatives(score > weakest - margin + TIE * torch.finfo(score.dtype).eps)
