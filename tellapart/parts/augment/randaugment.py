"""RandAugment: random operations at one strength."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from pydantic import Field

from tellapart.core.parts import part

GREY = 128
FARTHEST = 0.75


@part(
    paper="Cubuk, Zoph, Shlens, Le: RandAugment: Practical automated data augmentation with a reduced search space, "
    "NeurIPS 2020",
    place="augment",
    system="randaugment",
    traits=("pixels", "label"),
    aliases=("rand-augment",),
)
def randaugment(
    image: Image.Image,
    *,
    rng: np.random.Generator,
    operations: Annotated[int, Field(ge=0, le=10)] = 2,
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9,
) -> Image.Image:
    """Apply N operations, drawn from 14 with replacement, each at the one magnitude M.

    With m = M / 10 and a random sign where an operation has two directions::

        identity, autocontrast, equalize    no strength
        rotate                              by +-30 m degrees about the middle
        solarize                            invert values of 256 (1 - m) and above
        posterize                           keep 8 - 4 m bits, rounded, at least 1
        colour, contrast, brightness, sharpness    PIL's enhancement by 1 +- 0.9 m, at least 0
        shear-x, shear-y                    by +-0.3 m about the middle
        translate-x, translate-y            by +-0.45 m of the side, at most 0.75

    N is `operations`, M `magnitude`; the paper takes both from a small grid on the target task itself, and the best M
    grows with the model and the data.

    What was taken: the paper gives AutoAugment's ranges, reached at M = 10, and goes beyond them up to 30. In its code
    a larger M weakens solarize and posterize, and the enhancements run from 0.1 to 1.9 so that M = 5 does nothing; here
    all 14 grow with M from nothing at M = 0. Shear is about the middle, not the corner. What comes in from
    outside is grey.

    Inputs: a picture in RGB or L, a numpy generator. Gives one of the same size and mode; the input stays as it is.
    What it shows stays (trait `label`), where things are does not.

    Recommended for training on pixels where collection and model are not tiny; start with N = 2 and M = 5 to 10.

    Relations:
        - `flip-crop` is the plain baseline; both compose: `flip-crop|randaugment`.
    """
    names = list(_OPERATIONS)
    for _ in range(operations):
        chosen = names[int(rng.integers(len(names)))]
        sign = 1.0 if rng.random() < 0.5 else -1.0
        image = _OPERATIONS[chosen](image, magnitude / 10, sign)
    return image.copy() if operations == 0 else image


def _grey(image: Image.Image) -> int | tuple[int, ...]:
    bands = len(image.getbands())
    return GREY if bands == 1 else (GREY,) * bands


def _warp(image: Image.Image, shear_x: float, shear_y: float, shift_x: float, shift_y: float) -> Image.Image:
    """Output (x, y) is taken from the input at (x, y) + shear about the middle + shift, in pixels."""
    cx, cy = image.width / 2, image.height / 2
    data = (1.0, shear_x, shift_x - shear_x * cy, shear_y, 1.0, shift_y - shear_y * cx)
    return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR, fillcolor=_grey(image))


def _enhance(kind: Callable[..., ImageEnhance._Enhance]) -> Callable[..., Image.Image]:
    return lambda image, m, sign: kind(image).enhance(max(0.0, 1.0 + sign * 0.9 * m))


def _rotate(image: Image.Image, m: float, sign: float) -> Image.Image:
    return image.rotate(sign * 30.0 * m, Image.Resampling.BILINEAR, fillcolor=_grey(image))


def _far(m: float) -> float:
    return min(0.45 * m, FARTHEST)


_OPERATIONS: dict[str, Callable[[Image.Image, float, float], Image.Image]] = {
    "identity": lambda image, m, sign: image.copy(),
    "autocontrast": lambda image, m, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, m, sign: ImageOps.equalize(image),
    "rotate": _rotate,
    "solarize": lambda image, m, sign: ImageOps.solarize(image, max(0, round(256 * (1 - m)))),
    "posterize": lambda image, m, sign: ImageOps.posterize(image, max(1, round(8 - 4 * m))),
    "colour": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "brightness": _enhance(ImageEnhance.Brightness),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "shear-x": lambda image, m, sign: _warp(image, sign * 0.3 * m, 0, 0, 0),
    "shear-y": lambda image, m, sign: _warp(image, 0, sign * 0.3 * m, 0, 0),
    "translate-x": lambda image, m, sign: _warp(image, 0, 0, sign * _far(m) * image.width, 0),
    "translate-y": lambda image, m, sign: _warp(image, 0, 0, 0, sign * _far(m) * image.height),
}
