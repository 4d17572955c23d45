from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError, PartError
from tellapart.core.files import write_atomically
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._lite0 import BUILDER, PIXELS, SIDE, WEIGHTS, WIDTH, Lite0Weights, lite0_graph
from tellapart.parts.encode._lite0_cells import Cells
from tellapart.parts.encode._lite0_positions import Positions
from tellapart.parts.encode._onnx import Graph, digest, session, side_by_side, threads_or_all


@part(
    paper="Tan and Le, EfficientNet, ICML 2019; its Lite variant for devices, TensorFlow, 2020",
    place="encode",
    traits=("frozen", "trainable", "cells", "positions"),
    aliases=("efficientnet-lite0",),
)
class Lite0(Cells, Positions):
    """EfficientNet-Lite0 trained on ImageNet: a picture as 1280 numbers >= 0, without torch after the first use.

    Inverted residuals (MBConv) without squeeze-and-excitation, ReLU6, and the average over the last map. The central
    square that spans `crop` of the shorter side is resized to 224 x 224 (bicubic) and taken as (x - 127) / 128; that
    arithmetic is part of the graph, so it cannot be mistaken elsewhere. The features are not of unit length.

    Frozen, it runs on ONNX Runtime with BatchNorm folded into the convolutions, one picture a run and one run a core,
    so that decoding, resizing and inference of different pictures overlap. The first use converts the published
    weights, which takes torch, and keeps the graph in the cache folder (`TELLAPART_CACHE`). `encode_tokens` gives four
    vectors a picture, one of each corner; `encode_positions` a map of 14 x 14 of the whole picture.

    Args:
        path: a folder that `save` wrote; "" is the packaged model.
        crop: share of the shorter side that is looked at.
        threads: 0 means all cores.
    """

    modality = "image"
    dim = WIDTH
    low_rank_layers = ("*.conv",)

    def __init__(
        self,
        *,
        path: str = "",
        crop: Annotated[float, Field(gt=0, le=1)] = 0.875,
        threads: Annotated[int, Field(ge=0, le=256)] = 0,
    ) -> None:
        self.path = path
        self.crop = crop
        self.threads = threads

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, preprocessing and precision: equal fingerprints give equal vectors."""
        return digest("lite0", self._files.digest, f"{SIDE} bicubic {self.crop!r}", "float32")

    def encode(self, items: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """[n, 1280] float32 features of PIL images; `items` may open each picture when it is asked for.

        `batch_size` is an upper bound, and is not used up: one picture a run is fastest here.

        Raises:
            DataError: an item is not a picture.
        """

        def run(item: int) -> Any:
            return self._session.run(None, {PIXELS: self.pixels(items[item])[None]})[0][0]

        vectors = np.empty((len(items), self.dim), np.float32)
        for i, vector in enumerate(side_by_side(run, range(len(items)), threads_or_all(self.threads))):
            vectors[i] = vector
        return vectors

    def pixels(self, image: Any) -> np.ndarray:
        """[224, 224, 3] uint8: the cropped and resized picture."""
        from PIL import Image

        if not isinstance(image, Image.Image):
            raise DataError(f"lite0 takes PIL images, and got {type(image).__name__}; open files with open_image")
        side, (width, height) = self.crop * min(image.size), image.size
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
        return np.asarray(small)

    def prepare(self, items: Sequence[Any]) -> tuple[Any, ...]:
        """The torch input of `module()`: [n, 3, 224, 224] float32 in 0..1."""
        torch = require("torch", "training lite0")
        return (torch.from_numpy(self.feed(items)[PIXELS]).permute(0, 3, 1, 2) / 255,)

    def module(self) -> Any:
        """The encoder as a torch module with the same features, to be trained; its input is that of `prepare`."""
        torch = require("torch", "training lite0")
        from tellapart.parts.encode._lite0_torch import Lite0Module

        module = Lite0Module()
        module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in self._files.tensors.items()})
        return module

    def save(self, folder: str | Path, state: Mapping[str, np.ndarray] | None = None) -> Path:
        """Write the weights into a folder; the state of a trained module takes their place."""
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        unknown = [name for name in state or {} if name not in self._files.tensors]
        if unknown:
            raise PartError(f"lite0: the network has no tensor {unknown[0]!r}")
        tensors = {**self._files.tensors, **(state or {})}
        write_atomically(folder / WEIGHTS, save({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}))
        return folder

    def graph(self) -> tuple[Graph, str, dict[str, tuple[str, list[Any]]]]:
        """The encoder as an ONNX graph: the graph, the name of its output, and its inputs."""
        graph, vector = lite0_graph(self._files.tensors)
        return graph, vector, {PIXELS: ("UINT8", ["n", SIDE, SIDE, 3])}

    def feed(self, items: Sequence[Any]) -> dict[str, np.ndarray]:
        """The input of that graph."""
        empty = np.empty((0, SIDE, SIDE, 3), np.uint8)
        return {PIXELS: np.stack([self.pixels(items[i]) for i in range(len(items))]) if len(items) else empty}

    @cached_property
    def _files(self) -> Lite0Weights:
        return Lite0Weights(self.path)

    @cached_property
    def _session(self) -> Any:
        def build() -> bytes:
            graph, vector, inputs = self.graph()
            return graph.serialise(inputs, vector, WIDTH)

        return session(f"{BUILDER}-{self._files.digest}", build)
