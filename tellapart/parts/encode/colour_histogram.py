from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part

SIZE = 56
GREY, WHITE, SATURATED = 20, 240, 60


@part(
    paper="Swain & Ballard, Color Indexing, IJCV 1991",
    place="encode",
    traits=("frozen",),
)
class ColourHistogram:
    """How much of a picture is of which colour: what a network trained to name objects tends to forget.

    The picture is brought to 56 x 56 and to hue, saturation, value. White background (saturation below 20 and value
    above 240, of 255) is left out. Saturated pixels fall into `hues` x `values` bins, the others into `values` bins of
    grey. A vector is the square roots of the shares (so that its dot product is the Bhattacharyya coefficient), and
    behind them the share of the picture that is not background.

    Use it beside an encoder, as in `joined(parts='lite0|colour-histogram')`, for drawings, products and flags.
    """

    modality = "image"

    def __init__(
        self,
        *,
        hues: Annotated[int, Field(ge=2, le=180)] = 12,
        values: Annotated[int, Field(ge=1, le=64)] = 3,
    ) -> None:
        self.hues, self.values = hues, values

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.hues * self.values + self.values + 1

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on."""
        return hashlib.sha256(f"colour-histogram 1 {SIZE} {self.hues} {self.values}".encode()).hexdigest()[:16]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 of PIL pictures."""
        return np.stack([self._one(item) for item in items]) if len(items) else np.empty((0, self.dim), np.float32)

    def _one(self, picture: Any) -> np.ndarray:
        if not isinstance(picture, Image.Image):
            raise DataError(f"colour-histogram takes pictures (PIL), not {type(picture).__name__}")
        hsv = np.asarray(picture.convert("RGB").resize((SIZE, SIZE)).convert("HSV"), dtype=np.int64).reshape(-1, 3)
        hue, saturation, value = hsv.T
        hue, value = hue * self.hues // 256, value * self.values // 256
        coloured = saturation > SATURATED
        bins = np.where(coloured, hue * self.values + value, self.hues * self.values + value)
        seen = ~((saturation < GREY) & (hsv[:, 2] > WHITE))
        counts = np.bincount(bins[seen], minlength=self.dim - 1)
        return np.append(np.sqrt(counts / max(seen.sum(), 1)), seen.mean()).astype(np.float32)
