from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part

SIZE = 64


@part(
    paper="Dalal & Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005",
    place="encode",
    traits=("frozen",),
)
class Hog:
    """Where in a picture edges run in which direction; and, coarsely, what colour stands where.

    The picture is brought to 64 x 64; gradients of its grey values are summed by magnitude into `directions` unsigned
    directions for each of `cells` x `cells` cells, and the whole is brought to unit length (the paper normalises by
    overlapping blocks of cells; one block is taken here). Behind it stand the mean colours of the cells.

    It needs no weights and sees what mirrored, rotated and counted things differ by. Use it beside an encoder, as in
    `joined(parts='lite0|hog')`, or against one in the audit `mmvp`.
    """

    modality = "image"

    def __init__(
        self,
        *,
        cells: Annotated[int, Field(ge=1, le=32)] = 8,
        directions: Annotated[int, Field(ge=2, le=36)] = 8,
    ) -> None:
        self.cells, self.directions = cells, directions

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.cells**2 * (self.directions + 3)

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on."""
        return hashlib.sha256(f"hog 1 {SIZE} {self.cells} {self.directions}".encode()).hexdigest()[:16]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 of PIL pictures."""
        return np.stack([self._one(item) for item in items]) if len(items) else np.empty((0, self.dim), np.float32)

    def _one(self, picture: Any) -> np.ndarray:
        if not isinstance(picture, Image.Image):
            raise DataError(f"hog takes pictures (PIL), not {type(picture).__name__}")
        picture = picture.convert("RGB")
        grey = np.asarray(picture.convert("L").resize((SIZE, SIZE)), dtype=np.float32) / 255
        down, right = np.gradient(grey)
        direction = (np.arctan2(down, right) % np.pi / np.pi * self.directions).astype(np.int64) % self.directions
        place = np.arange(SIZE) * self.cells // SIZE
        bins = (place[:, None] * self.cells + place) * self.directions + direction
        size = self.cells**2 * self.directions
        edges = np.bincount(bins.ravel(), weights=np.hypot(right, down).ravel(), minlength=size)
        edges /= np.sqrt((edges**2).sum() + 1e-6)
        colours = np.asarray(picture.resize((self.cells, self.cells)), dtype=np.float32).ravel() / 255
        return np.concatenate([edges, colours]).astype(np.float32)
