"""Words that are masked at random."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.augment._tokens import bert_masked, in_words


@part(
    paper="(plain baseline; masking as in Devlin, Chang, Lee, Toutanova, BERT: Pre-training of Deep Bidirectional "
    "Transformers for Language Understanding, NAACL 2019)",
    place="augment",
    traits=("words", "label"),
)
def mask_words(
    text: str,
    *,
    rng: np.random.Generator,
    share: Annotated[float, Field(gt=0, le=1)] = 0.15,
    mask: str = "[MASK]",
) -> str:
    """Each word is chosen with the chance `share`; of the chosen ones 80% are masked, 10% swapped, 10% left alone.

    A word is a run of letters and digits, or any other sign by itself; what stands between words stays. A word that is
    swapped becomes a word of the same text, drawn at random (BERT draws from its whole vocabulary). A text whose words
    were all masked still holds the masks.

    Args:
        share: chance of each word.
        mask: what a masked word becomes: the encoder's own mask. BERT's and MiniLM's is `[MASK]`, RoBERTa's `<mask>`.

    When to use: texts whose meaning survives a missing word. Where the encoder is trained a text is masked anew in
    every step; above a frozen encoder four masked copies of every text are embedded beforehand, of which one is drawn.

    Relations: `soda` knows what kind of token it masks, in source text.
    """
    pieces, places = in_words(text)
    return "".join(bert_masked(pieces, places, share, mask, rng))
