"""Random crop, resized to the old size, and random mirror image."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from PIL import Image, ImageOps
from pydantic import Field

from tellapart.core.parts import part

WIDEST = 4 / 3


@part(paper="(plain baseline)", place="augment", traits=("pixels", "label"), aliases=("random-resized-crop",))
def flip_crop(
    image: Image.Image,
    *,
    rng: np.random.Generator,
    smallest: Annotated[float, Field(gt=0, le=1)] = 0.3,
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> Image.Image:
    """Cut out a random part of the picture, bring it to the old size, and mirror it left to right by chance.

    The part covers a share A of the area, uniform on [`smallest`, 1]. Its width over its height is that of the picture
    times a factor whose logarithm is uniform between -c and c, with c = log 4/3, or -log A where that is less, so that
    it always fits. It lies anywhere inside with equal chance. The resampling is bicubic. `flip` is the chance of
    mirroring.

    Inputs: a picture in RGB or L, a numpy generator. Gives one of the same size and mode; the input stays as it is.
    What it shows stays (trait `label`) unless a crop misses it or left and right mean something: for arrows and
    writing use `flip=0`.

    Recommended as the first augmentation on pixels, and as the baseline of all others.

    Relations:
        - `randaugment` adds colour and geometry; both compose: `flip-crop|randaugment`.
    """
    area = rng.uniform(smallest, 1.0)
    bound = min(math.log(WIDEST), abs(math.log(area)))
    stretch = math.exp(rng.uniform(-bound, bound))
    width = image.width * min(1.0, math.sqrt(area * stretch))
    height = image.height * min(1.0, math.sqrt(area / stretch))
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    box = (left, top, min(left + width, image.width), min(top + height, image.height))
    cut = image.resize(image.size, Image.Resampling.BICUBIC, box=box)
    return ImageOps.mirror(cut) if rng.random() < flip else cut
