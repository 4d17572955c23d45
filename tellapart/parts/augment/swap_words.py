"""Two words of one kind exchanged: a text that is nearly the same and says something else."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.core.tagging import KINDS, reordered, swapped


@part(
    paper="Yuksekgonul, Bianchi, Kalluri, Jurafsky, Zou: When and Why Vision-Language Models Behave like "
    "Bags-of-Words, and What to Do About It?, ICLR 2023",
    place="augment",
    system="negclip-aro",
    traits=("words", "contrary"),
)
def swap_words(text: str, *, rng: np.random.Generator, swaps: Annotated[int, Field(ge=1, le=10)] = 1) -> str:
    """Exchange two different words of one kind (nouns, adjectives, adverbs, verbs): a wrong caption of a right one.

    "a red car beside a blue house" becomes "a blue car beside a red house" or "a red house beside a blue car". The kind
    is drawn among those of which there are two words, then the two. Words joined by "and" or "or", and adjectives side
    by side, are left alone. A text without two such words comes out as it is, and is then no wrong caption: who takes
    it as one has to look.

    What was taken: swaps of words of one part of speech make the hard negatives of NegCLIP. There a trained tagger
    finds words and phrases; here lists and endings do (`core/tagging.py`), single words alone, in English.

    Trait `contrary`: what comes out is not what the item is. Only strategies that want that take it (`negclip`); others
    would learn wrong captions as right ones, and are refused.

    Args:
        swaps: exchanges, one after the other.

    Relations: `word-order` measures whether such captions are told from right ones.
    """
    order = swapped(*KINDS)
    for _ in range(swaps):
        text = reordered(text, order, rng) or text
    return text
