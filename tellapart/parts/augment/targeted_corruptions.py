"""Targeted corruptions: the damage that pictures of one's own kind really have, as augmentation."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from tellapart.core.corruptions import Source, corruptions
from tellapart.core.errors import PartError
from tellapart.core.parts import part


@part(
    paper="Di Salvo, Doerrich, Ledig: MedMNIST-C: Comprehensive benchmark and improved classifier robustness by "
    "simulating realistic image corruptions, arXiv 2406.17536, 2024",
    place="augment",
    system="medmnist-c",
    traits=("pixels", "label", "position"),
)
def targeted_corruptions(
    image: Image.Image,
    *,
    rng: np.random.Generator,
    source: Source = "any",
    but: str = "",
    clean: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> Image.Image:
    """Damage a picture in one way, or in none.

    Formula: of C corruptions, one is drawn, or none, each with probability 1 / (C + 1); its level is drawn evenly
    between that of severity 1 and that of severity 5.

    What was taken: the published augmentation, with the registry of this library (`core.corruptions`): saved too
    small, blurred, noisy, too dark, stained and more, in place of what medical instruments do. `clean` is an addition:
    that share of the pictures beyond those that draw none stays as it is.

    Inputs: a picture in RGB or L, a numpy generator. Gives one of the same size and mode; the input stays as it is.
    What it shows stays (trait `label`), and so does where (`position`).

    Use it where pictures will be worse than those there are to train on, and it can be said how: `source` names what
    the pictures will be. It is no general regulariser.

    Args:
        source: any, web, photo or scan.
        but: names of corruptions or families to leave out, with "|" between.

    Raises `PartError` where nothing is left of the corruptions.

    Relations: `medmnist-c` measures what a model loses to each of these. `randaugment` draws operations that nothing
    in particular does to pictures; chains work: `flip-crop|targeted-corruptions`.
    """
    kinds = corruptions(source, but)
    if not kinds:
        raise PartError(f"no corruption is left without {but!r}: leave out fewer")
    drawn = int(rng.integers(len(kinds) + 1))
    if drawn == len(kinds) or rng.random() < clean:
        return image.copy()
    return kinds[drawn].anyhow(image, rng)
