"""What stays of a trained run: its model in a folder, tuned encoders included."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
from torch import nn

from tellapart.core.collection import Sides
from tellapart.core.parts import make, parse_spec
from tellapart.engine.early import encoder_for, head_for
from tellapart.engine.fit import Fitted
from tellapart.engine.model import Head, Model
from tellapart.engine.tune import merge
from tellapart.recipe import Recipe

SIDES = ("query", "document")


def keep(sides: Sides, recipe: Recipe, fitted: Fitted | None, folder: Path) -> Model:
    """Write the model of a run and read it back; where nothing was trained (`fitted` is None) it has no heads.

    Low-rank additions are merged into the weights they stand beside, in a copy: the towers stay as they are. An
    encoder that was tuned lies in the model's folder, in the form that its part saves.

    Raises:
        TellapartError: the folder cannot be written, or does not read back.
    """
    specs = {modality: encoder_for(modality, recipe) for modality in ("image", "text", "series")}
    heads: dict[str, Head] = {}
    if fitted is None or recipe.tune == "head":
        for side, state in fitted.state.items() if fitted else ():
            if side in SIDES:
                heads[side] = Head(head_for(getattr(sides, side).modality, recipe), state)
        return Model.load(Model(sides, specs, heads, recipe=recipe.model_dump()).save(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tuned.") as work:
        for modality, side in {getattr(sides, side).modality: side for side in SIDES}.items():
            network = fitted.towers[side].get_submodule("0.network")
            specs[modality] = _saved(specs[modality], network, Path(work, modality))
        for side in SIDES:
            heads[side] = Head(recipe.head, _arrays(fitted.towers[side].get_submodule("1")))
        Model(sides, specs, heads, recipe=recipe.model_dump()).save(folder)
    return Model.load(folder)


def _saved(spec: str, network: nn.Module, folder: Path) -> str:
    """The encoder with trained weights in a folder, as a spec that names it."""
    make("encode", spec).save(folder, _arrays(merge(copy.deepcopy(network))))
    name, options = parse_spec(spec)
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in {**options, 'path': str(folder)}.items())})"


def _arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: x.detach().cpu().numpy().copy() for name, x in module.state_dict().items()}
