"""Whether the parts of a recipe can work together, and on these data: said in words before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tellapart.core.collection import Collection, Side
from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, chain_cards, make, parse_spec, split_chain
from tellapart.data.frames import framed
from tellapart.data.graph import EDGES
from tellapart.data.votes import by_vote
from tellapart.engine.early import check_fusion, encoder_for
from tellapart.engine.scorers import check_scorers
from tellapart.engine.suitable import check_suitable
from tellapart.engine.token_sets import check_pooled
from tellapart.engine.tokens import check_tokens
from tellapart.recipe import Recipe

if TYPE_CHECKING:
    from tellapart.engine.session import Run


def check_together(collection: Collection, recipe: Recipe) -> None:
    """Refuse a recipe whose parts exclude each other, or make no sense on this collection.

    Raises:
        PartError: with what to change.
    """
    _check_names(collection, recipe)
    _check_tuning(collection, recipe)
    check_tokens(recipe.index, recipe.text, recipe.head, collection.sides())
    _check_altered(collection, recipe)
    check_mates(recipe, collection.sides().same_space)
    _check_regions(collection, recipe)
    if framed(collection) and recipe.tune != "head":
        raise PartError(
            f"tune={recipe.tune} trains an encoder on whole pictures, and these items are several frames each, whose "
            "frozen vectors are averaged: set tune=head"
        )
    check_links(collection, recipe)
    check_stages(recipe)
    check_fusion(recipe, collection)
    _check_texts(recipe)
    check_scorers(recipe.rank, collection.sides())
    check_pooled(recipe)
    check_suitable(collection, recipe)
    _check_sounds(recipe)


def _check_names(collection: Collection, recipe: Recipe) -> None:
    """Names of users and items mean nothing to an encoder of texts; and rank parts know no votes to leave out."""
    if not by_vote(collection):
        return
    if parse_spec(recipe.text)[0] != "identifiers" or recipe.tune != "head":
        raise PartError(
            "these are votes of users for items, known by their names alone, which mean nothing to an encoder of "
            "texts: set text=identifiers and tune=head, with strategy=unvoted and objective=nbpo, sigmoid or ranknet"
        )
    if recipe.rank:
        raise PartError(f"rank={recipe.rank} does not know which items a user has voted for: leave it out")


def _check_texts(recipe: Recipe) -> None:
    """Weights of terms are learnt from the states that a frozen encoder gives each token."""
    if "texts" not in card_of("strategy", parse_spec(recipe.strategy)[0]).traits:
        return
    if recipe.tune != "head" or "tokens" not in card_of("encode", parse_spec(recipe.text)[0]).traits:
        raise PartError(
            f"strategy={recipe.strategy} learns from the vectors that a frozen encoder gives each token: set "
            "text=minilm and tune=head"
        )


def check_stages(recipe: Recipe) -> None:
    """Refuse a head of several stages without a strategy that goes through them, and the other way round."""
    staged = "staged" in card_of("encode", parse_spec(recipe.head)[0]).traits
    going = "stages" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits
    if staged and not going:
        raise PartError(f"strategy={recipe.strategy} would train the first stage of head={recipe.head} alone: use mcl")
    if going and not staged:
        raise PartError(f"strategy={recipe.strategy} trains heads of several stages: set head=staged-head as well")
    if going and recipe.tune in ("lora", "full"):
        raise PartError(f"strategy={recipe.strategy} freezes head after head above an encoder at rest: set tune=head")


def _check_sounds(recipe: Recipe) -> None:
    """Sound is read as tokens of a frozen encoder."""
    if "sounds" not in card_of("strategy", parse_spec(recipe.strategy)[0]).traits:
        return
    if recipe.tune != "head" or "tokens" not in card_of("encode", parse_spec(recipe.series)[0]).traits:
        raise PartError(
            f"strategy={recipe.strategy} reads pieces of sound, each with a vector of a frozen encoder: set "
            f"series=log-mel and tune=head, not series={recipe.series} and tune={recipe.tune}"
        )


def learns_from_regions(recipe: Recipe) -> bool:
    """Whether the recipe's strategy is given regions of pictures and what is said of them."""
    return "regions" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits


def _check_regions(collection: Collection, recipe: Recipe) -> None:
    """Regions are parts of pictures, and captions say what is there."""
    sides = collection.sides()
    if learns_from_regions(recipe) and (sides.query.modality, sides.document.modality) != ("text", "image"):
        raise PartError(
            f"strategy={recipe.strategy} learns from regions of pictures and from captions that say what is there: "
            f"give pictures with captions; here {sides.query.column} is searched with {sides.document.column}"
        )


def check_links(collection: Collection, recipe: Recipe) -> None:
    """Refuse a strategy that learns from links between items where there are none."""
    if "edges" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits and EDGES not in collection.columns:
        raise PartError(
            f"strategy={recipe.strategy} learns from links between items, and there is no column `{EDGES}`: give a "
            f"graph whose nodes have labels (nodes.csv and edges.csv, .graphml), not {', '.join(collection.columns)}"
        )


def check_mates(recipe: Recipe, same_space: bool) -> None:
    """Refuse augmentations that mix the halves of pairs where there are no two halves."""
    if same_space and (spec := _named(recipe, "augment", "mates")):
        raise PartError(
            f"augment={spec} mixes the two halves of a pair, and here both are one column: leave it out, or give pairs "
            "of two columns"
        )


def check_used(run: Run) -> None:
    """After the first step: refuse parts of the loss that the strategy has not asked for; they would change nothing."""
    recipe, usual = run.recipe, Recipe()
    if run.chain.asked:
        return
    idle = {"objective": recipe.objective, "relate": recipe.relate, "augment": _named(recipe, "augment", "features")}
    for field, spec in idle.items():
        if spec and spec != getattr(usual, field):
            raise PartError(f"strategy={recipe.strategy} makes no use of {field}={spec}: leave it out")


def sides_of(collection: Collection) -> dict[str, Side]:
    """What is embedded, by name: the query side, and the document side where it is another column."""
    sides = collection.sides()
    return {"query": sides.query} if sides.same_space else {"query": sides.query, "document": sides.document}


def encoder_of(side: Side, recipe: Recipe) -> str:
    """The encoder that a recipe names for a side."""
    return encoder_for(side.modality, recipe)


def word_chain(recipe: Recipe) -> str:
    """The augmentations of a recipe that alter texts before a frozen encoder sees them; "" where there are none."""
    return _named(recipe, "augment", "words") if recipe.tune == "head" else ""


def _named(recipe: Recipe, field: str, trait: str) -> str:
    """The pieces of a chain whose parts have a trait, as they are written."""
    pieces = zip(split_chain(getattr(recipe, field)), chain_cards(field, getattr(recipe, field)), strict=True)
    return "|".join(piece for piece, card in pieces if trait in card.traits)


def _check_altered(collection: Collection, recipe: Recipe) -> None:
    """Augmentations of pixels and words need items that are looked at while training."""
    there = {side.modality for side in sides_of(collection).values()}
    wanted = "contrary" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits
    if not wanted and (contrary := _named(recipe, "augment", "contrary")):
        raise PartError(
            f"augment={contrary} makes texts that say something else, which {recipe.strategy} would learn as right "
            "ones: use strategy=negclip, or leave it out"
        )
    for trait, modality in (("pixels", "image"), ("words", "text")):
        spec = _named(recipe, "augment", trait)
        if spec and modality not in there:
            raise PartError(f"augment={spec} alters {modality}s, and there are none to be searched here: leave it out")
        if spec and trait == "pixels" and recipe.tune in ("none", "head"):
            raise PartError(
                f"augment={spec} alters pixels, and with tune={recipe.tune} the encoder sees every picture once: "
                "train the encoder too, with tune=full or tune=lora and image=lite0 or image=small-cnn, or leave it out"
            )


def _check_tuning(collection: Collection, recipe: Recipe) -> None:
    if recipe.tune == "none" and not collection.sides().comparable:
        raise PartError(
            "tune=none compares the vectors of one encoder, and these two sides have one each, or are two sensors, "
            "which no encoder compares untrained: tune=head"
        )
    if recipe.tune in ("none", "head"):
        return
    for modality, spec in {side.modality: encoder_of(side, recipe) for side in sides_of(collection).values()}.items():
        card = card_of("encode", parse_spec(spec)[0])
        usual = Recipe.model_fields[modality].default
        part = make("encode", spec) if "trainable" in card.traits else None
        if part is None or not hasattr(part, "save"):
            other = f"use {modality}={usual}, or tune=head" if modality != "series" else "use tune=head"
            raise PartError(f"{card.name} cannot be tuned; {other}")
        if recipe.tune == "lora":
            from tellapart.engine.tune import lora, low_rank_layers

            try:
                lora(part.module(), targets=low_rank_layers(part))
            except PartError:
                raise PartError(
                    f"{card.name} has no attention to put low-rank additions beside, nor names other layers for them; "
                    "use tune=full or tune=head"
                ) from None
