"""Soft data augmentation of source text: tokens give way to a mask or to the name of their kind."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.parts.augment._tokens import bert_masked, in_words, mostly, some

KINDS = {
    ("Keyword",): "keyword",
    ("Operator", "Word"): "keyword",
    ("Name",): "identifier",
    ("Name", "Function"): "function",
    ("Name", "Class"): "class",
    ("Name", "Builtin"): "builtin",
    ("Literal",): "literal",
    ("Literal", "String"): "string",
    ("Literal", "Number"): "number",
    ("Operator",): "operator",
    ("Punctuation",): "separator",
    ("Comment",): "comment",
}
SIGNS, SOURCE = frozenset("()[]{}="), 0.1


@part(
    paper="Shi, Wang, Gu, Du, Zhang, Han, Zhang, Sun: CoCoSoDa: Effective Contrastive Learning for Code Search, "
    "ICSE 2023",
    place="augment",
    system="cocosoda",
    traits=("words", "label"),
    needs=("pygments",),
)
def soda(
    text: str,
    *,
    rng: np.random.Generator,
    share: Annotated[float, Field(gt=0, le=1)] = 0.15,
    language: str = "python",
    mask: str = "[MASK]",
) -> str:
    """Source text with some tokens masked or called by their syntactic kind.

    One of four edits is drawn for each text, all equally likely; a token is chosen with the chance `share`::

        mask                  any token: 80% become the mask, 10% another token of the text, 10% stay
        replace by kind       any token: 80% become the word for their kind, the rest stay
        mask one kind         tokens of a kind drawn among those of the text: 80% become the mask
        replace one kind      tokens of a kind drawn among those of the text: 80% become the word for it

    Kinds are those that Pygments tells apart: keyword, identifier, function, class, builtin, literal, string, number,
    operator, separator, comment. Prose has no kinds and is only masked, as the authors' code does with queries; a text
    is prose where fewer than one in ten of its words and signs are brackets or equals signs (86% of the docstrings of
    Python's own library and 1% of its functions are).

    What was taken: shares and edits are the paper's; its code chooses 10%, and draws edit and kind once for a batch,
    where here each text has its own. The paper's kinds are those of tree-sitter, added to the encoder's vocabulary;
    here they are English words, which any encoder knows. A random token comes from the text, not from the vocabulary.

    Args:
        share: chance of each token that the edit may touch.
        language: of the source text, by any name Pygments knows; one for both sides of a collection.
        mask: what a masked token becomes: the encoder's own mask. BERT's and MiniLM's is `[MASK]`, RoBERTa's `<mask>`.

    When to use: collections of source text, with `strategy=cocosoda` or any other. Above a frozen encoder four altered
    copies of every text are embedded beforehand, of which each step draws one.

    Relations: `mask-words` is its first edit alone, for texts of all sorts.
    """
    pieces, places = in_words(text)
    signs = sum(pieces[place] in SIGNS for place in places)
    if signs < SOURCE * len(places):
        return "".join(bert_masked(pieces, places, share, mask, rng))
    tokens = _tokens(text, language)
    pieces = [piece for piece, _ in tokens]
    places = [place for place, (_, kind) in enumerate(tokens) if kind]
    edit = int(rng.integers(4))
    if edit == 0 or not places:
        return "".join(bert_masked(pieces, places, share, mask, rng))
    if edit > 1:
        kinds = sorted({tokens[place][1] for place in places})
        one = kinds[int(rng.integers(len(kinds)))]
        places = [place for place in places if tokens[place][1] == one]
    for place in mostly(some(places, share, rng), rng):
        pieces[place] = mask if edit == 2 else f" {tokens[place][1]} "
    return "".join(pieces)


@functools.lru_cache(maxsize=1024)
def _tokens(text: str, language: str) -> tuple[tuple[str, str], ...]:
    """(token, the word for its kind) that make up the text; kept, since a text is altered several times."""
    return tuple((str(piece), _kind(kind)) for kind, piece in _lexer(language).get_tokens(text))


def _kind(token: Any) -> str:
    """The word for a kind of token; "" for white space and what the language does not know."""
    path = tuple(token)
    return next((KINDS[path[:end]] for end in range(len(path), 0, -1) if path[:end] in KINDS), "")


@functools.lru_cache(maxsize=16)
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        raise PartError(f"soda knows no language {language!r}: `pygmentize -L lexers` lists those it knows") from None
