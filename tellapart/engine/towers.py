"""The networks of a run: an encoder where one is tuned, and a head above it or above frozen features."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.parts import card_of, make, parse_spec
from tellapart.data.composed import REFERENCE
from tellapart.engine.early import fuses, head_for, of_side
from tellapart.engine.inputs import Inputs, TrainData
from tellapart.recipe import Recipe


def build(recipe: Recipe, data: TrainData) -> nn.ModuleDict:
    """A tower a side, or one for both where both are one column.

    Towers of two columns with one encoder part have a head each and the encoder in common. Where references and words
    are composed, references go through the tower of the documents.
    """

    def tower(side: str, shared: nn.Module | None = None) -> nn.Module:
        inputs = data.side(side)
        head: nn.Module = make("encode", head_for(of_side(side), recipe)).module(inputs.width)
        below = shared if shared is not None else inputs.encoder()
        if below is None:
            head.standardise(inputs.batch(np.arange(len(inputs)), seed=None))  # type: ignore[operator]
            return head
        if inputs.reference:
            rows = np.unique(np.linspace(0, len(inputs) - 1, min(inputs.reference, len(inputs))).astype(np.int64))
            head.standardise(encoded(below, inputs, rows, torch.device("cpu")))  # type: ignore[operator]
        return nn.Sequential(below, head)

    query = tower("query")
    if data.same_space:
        made = nn.ModuleDict({"query": query, "document": query})
    else:
        shared = query.get_submodule("0") if data.one_encoder else None
        made = nn.ModuleDict({"query": query, "document": tower("document", shared)})
    if fuses(recipe):
        made["document"].share(query)  # type: ignore[operator]
    shared_reference = fuses(recipe) or "composed" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits
    for name, inputs in data.others.items():
        if shared_reference and name == REFERENCE:
            made[name] = made["document"]
            continue
        part = inputs.part
        like = next((s for s in made if part is not None and data.side(s).part is part), None)
        made[name] = tower(name, made[like].get_submodule("0") if like else None)
    return made


def blocks(inputs: Inputs, rows: np.ndarray) -> list[np.ndarray]:
    """Rows in nearly equal parts of at most `inputs.chunk`."""
    return np.array_split(rows, max(1, math.ceil(len(rows) / inputs.chunk)))


@torch.no_grad()
def encoded(network: nn.Module, inputs: Inputs, rows: np.ndarray, device: torch.device) -> Tensor:
    """[n, d] vectors of some rows, in evaluation mode and without augmentation."""
    training = network.training
    network.eval()
    parts = [network(inputs.batch(part, seed=None).to(device)).float() for part in blocks(inputs, rows)]
    vectors = torch.cat(parts)
    network.train(training)
    return vectors
