"""Four corners of a picture under EfficientNet-Lite0, before its last average."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tellapart.parts.encode._lite0 import BUILDER, PIXELS, SIDE, WIDTH, Lite0Weights, lite0_graph
from tellapart.parts.encode._onnx import session, side_by_side, threads_or_all


class Cells:
    """Base of the encoder: several vectors a picture. A part that inherits it has `threads`, `pixels` and `_files`."""

    threads: int

    def encode_tokens(self, items: Sequence[Any], *, batch_size: int = 64) -> list[np.ndarray]:
        """A matrix [4, 1280] float32 of unit rows for each picture: its corners, row by row.

        Averages over 4 x 4 of the 7 x 7 places before the last average, which overlap in the middle.

        Raises:
            DataError: an item is not a picture.
        """

        def run(item: int) -> np.ndarray:
            corners = self._cell_session.run(None, {PIXELS: self.pixels(items[item])[None]})[0][0]
            rows = corners.reshape(WIDTH, -1).T
            return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))

        return list(side_by_side(run, range(len(items)), threads_or_all(self.threads)))

    def pixels(self, image: Any) -> np.ndarray:
        """[224, 224, 3] uint8: the cropped and resized picture."""
        raise NotImplementedError

    @cached_property
    def _files(self) -> Lite0Weights:
        raise NotImplementedError

    @cached_property
    def _cell_session(self) -> Any:
        def build() -> bytes:
            graph, corners = lite0_graph(self._files.tensors, cells=True)
            return graph.serialise({PIXELS: ("UINT8", ["n", SIDE, SIDE, 3])}, corners, ["n", WIDTH, 2, 2])

        return session(f"{BUILDER}-cells-{self._files.digest}", build)
