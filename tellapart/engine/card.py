"""The README that lies beside a saved model: what it is, what made it, whom to cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tellapart.core.collection import Sides
from tellapart.core.errors import PartError
from tellapart.core.parts import SHAPES, Card, chain_cards
from tellapart.core.version import VERSION


def model_card(
    sides: Sides,
    dim: int,
    encoders: Mapping[str, str],
    heads: Mapping[str, str],
    recipe: Mapping[str, Any],
    *,
    aligned: str = "",
) -> str:
    """Markdown with the metadata block that model hubs read.

    Args:
        encoders: specs by modality.
        heads: specs by side.
        recipe: plain values of the recipe, empty where nothing was trained.
        aligned: the spec of a map behind the heads.
    """
    used = {c.name: c for spec in (*encoders.values(), *heads.values()) for c in chain_cards("encode", spec)}
    used |= {c.name: c for c in chain_cards("align", aligned)}
    for name, value in recipe.items():
        used |= {c.name: c for c in _cards(name, value)}
    lines = [
        "---", "library_name: tellapart", "tags: [tellapart, embeddings, retrieval]", "---", "",
        "# A tellapart model", "",
        f"It is searched with {_several(sides.query.modality)} (column `{sides.query.column}`) and finds "
        f"{_several(sides.document.modality)} (column `{sides.document.column}`). Vectors have {dim} numbers and unit "
        f"length; similarity is their dot product. Written by tellapart {VERSION}.", "",
        "```python", "from tellapart.engine.model import Model", "",
        "model = Model.load(\"this folder\")", "q = model.encode_query([...])", "d = model.encode_document([...])",
        "scores = model.similarity(q, d)", "```", "",
    ]  # fmt: skip
    if aligned:
        lines += [
            f"`{aligned}` maps the vectors into the space of an earlier model, so that they can be compared with those "
            "of an index that it left.", "",
        ]  # fmt: skip
    if recipe:
        lines += ["## Recipe", "", "| | |", "| --- | --- |"]
        lines += [f"| {name} | `{value}` |" for name, value in recipe.items() if value != ""] + [""]
    lines += ["## Parts", "", "| part | shape | paper |", "| --- | --- | --- |"]
    lines += [f"| {c.name} | {c.shape} | {c.paper} |" for c in used.values()]
    return "\n".join(lines) + "\n"


def _several(modality: str) -> str:
    return "windows of recordings" if modality == "series" else f"{modality}s"


def _cards(name: str, value: Any) -> tuple[Card, ...]:
    shape = "encode" if name in ("image", "text", "series", "head") else name
    if shape not in SHAPES or not isinstance(value, str):
        return ()
    try:
        return chain_cards(shape, value)
    except PartError:
        # A part of the reader's own that is not on this machine: the recipe names it, its paper is not known here.
        return ()
