"""The places of a picture under EfficientNet-Lite0: what its last maps hold at each of 14 x 14."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.parts.encode._lite0 import BUILDER, MAPS, PIXELS, SIDE, Lite0Weights, lite0_graph
from tellapart.parts.encode._onnx import session, side_by_side, threads_or_all

GRID, WIDTHS = 14, tuple(MAPS.values())


class Positions:
    """Base of the encoder: a vector a place. A part that inherits it has `threads` and `_files`."""

    threads: int

    def encode_positions(self, items: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """[n, 14, 14, 432] float32 of unit rows: the places of each picture from its upper left corner, row by row.

        The WHOLE picture is squeezed into the square, so that places are equal parts of it; nothing is cut off, as
        `encode` does. Beside each other lie, each of equal length, the last map of 14 x 14 (112 channels) and that of
        7 x 7 (320), spread over 14 x 14 linearly.

        Raises:
            DataError: an item is not a picture.
        """
        found = np.empty((len(items), GRID, GRID, sum(WIDTHS)), np.float32)

        def run(item: int) -> Any:
            return self._map_session.run(None, {PIXELS: _squeezed(items[item])[None]})[0][0]

        for i, maps in enumerate(side_by_side(run, range(len(items)), threads_or_all(self.threads))):
            found[i] = np.concatenate([_unit(x) for x in np.split(maps.transpose(1, 2, 0), WIDTHS[:1], axis=2)], axis=2)
        return _unit(found) if len(found) else found

    @cached_property
    def _files(self) -> Lite0Weights:
        raise NotImplementedError

    @cached_property
    def _map_session(self) -> Any:
        def build() -> bytes:
            graph, maps = lite0_graph(self._files.tensors, maps=True)
            return graph.serialise({PIXELS: ("UINT8", ["n", SIDE, SIDE, 3])}, maps, ["n", sum(WIDTHS), GRID, GRID])

        return session(f"{BUILDER}-maps-{self._files.digest}", build)


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length; one of zeros becomes even."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    even = np.float32(x.shape[-1] ** -0.5)
    return np.where(length > 1e-12, x / np.maximum(length, 1e-12), even).astype(np.float32)


def _squeezed(image: Any) -> np.ndarray:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise DataError(f"lite0 takes PIL images, and got {type(image).__name__}; open files with open_image")
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
