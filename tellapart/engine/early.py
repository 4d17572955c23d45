"""Early fusion: recipes whose strategy is one tower of tokens, for pictures, for words and for both (trait `fusion`).

Such a strategy is head and tower at once, and reads the tokens of the recipe's encoders instead of their one vector.
"""

from __future__ import annotations

from typing import Any

from tellapart.core.collection import Collection, modality_of
from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, parse_spec
from tellapart.recipe import PLAIN, Recipe

CELLS = 4


def fuses(recipe: Recipe) -> bool:
    """Whether the recipe's strategy is one tower of tokens."""
    return "fusion" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits


def encoder_for(modality: str, recipe: Recipe) -> str:
    """The encoder of a modality: the one that the recipe names, or where the strategy fuses, its tokens."""
    spec: str = getattr(recipe, modality)
    return f"flat-tokens(encoder={spec!r}, tokens={tokens_of(modality, recipe)})" if fuses(recipe) else spec


def head_for(modality: str, recipe: Recipe) -> str:
    """The head above the encoder of a modality."""
    if not fuses(recipe):
        return recipe.head
    width, layers = (_option(recipe, name) for name in ("width", "layers"))
    return f"joint-tower(dim={width}, depth={layers}, tokens={tokens_of(modality, recipe)})"


def of_side(side: str) -> str:
    """The modality of a side of training data where pictures are searched with words."""
    return {"query": "text", "document": "image"}.get(side) or modality_of(side) or ""


def check_fusion(recipe: Recipe, collection: Collection) -> None:
    """Refuse what makes no sense beside one tower of tokens.

    Raises:
        PartError: with what to change.
    """
    if not fuses(recipe):
        return
    if recipe.tune != "head":
        raise PartError(f"strategy={recipe.strategy} learns above frozen encoders: set tune=head, not {recipe.tune}")
    if recipe.head not in (Recipe.model_fields["head"].default, PLAIN.head):
        raise PartError(f"strategy={recipe.strategy} is the tower itself, and head={recipe.head} would be idle")
    if recipe.relate or recipe.augment:
        field = "relate" if recipe.relate else "augment"
        said = getattr(recipe, field)
        raise PartError(f"{field}={said} looks at one vector an item, and strategy={recipe.strategy} reads tokens")
    sides = collection.sides()
    if {sides.query.modality, sides.document.modality} != {"text", "image"}:
        raise PartError(
            f"strategy={recipe.strategy} fuses pictures and words: give pictures with texts; here {sides.query.column} "
            f"is searched with {sides.document.column}"
        )


def tokens_of(modality: str, recipe: Recipe) -> int:
    """How many tokens of an item are read; an encoder that has none gives one."""
    traits = card_of("encode", parse_spec(getattr(recipe, modality))[0]).traits
    if "tokens" in traits:
        return int(_option(recipe, "words"))
    return CELLS if "cells" in traits else 1


def _option(recipe: Recipe, name: str) -> Any:
    strategy, given = parse_spec(recipe.strategy)
    usual = {option.name: option.default for option in card_of("strategy", strategy).options}
    return given.get(name, usual[name])
