"""The resampler place by place, with weights drawn here, before the network of the encoder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

SIDE = 16
INNER = "small-cnn(width=8, side=16)"
CASES: list[dict] = [{}, {"reach": 2.5, "hidden": 5}]


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """[c, h, w] by a kernel [out, c, k, k], zeros beyond the edge."""
    size = kernel.shape[2]
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    y = np.zeros((len(kernel), *x.shape[1:]))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            y[:, row, column] = (kernel * padded[:, row : row + size, column : column + size]).sum((1, 2, 3)) + bias
    return y


def rendered(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """[3, h, w]: for every pixel its place is moved, and the colour there is made of the four pixels around it."""
    seen = np.maximum(convolve(2 * x - 1, w["features.0.weight"], w["features.0.bias"]), 0)
    seen = np.maximum(convolve(seen, w["features.2.weight"], w["features.2.bias"]), 0)
    inner = np.maximum(convolve(seen, w["shift.0.weight"], w["shift.0.bias"]), 0)
    shift = w["reach"] * np.tanh(convolve(inner, w["shift.2.weight"], w["shift.2.bias"]))
    y = np.zeros_like(x)
    _, height, width = x.shape
    for row in range(height):
        for column in range(width):
            down = min(max(row + shift[0, row, column], 0), height - 1)
            right = min(max(column + shift[1, row, column], 0), width - 1)
            for i in range(height):
                for j in range(width):
                    weight = max(0, 1 - abs(down - i)) * max(0, 1 - abs(right - j))
                    if weight:
                        y[:, row, column] += weight * colour(x, seen, w, i, j, np.array([down - i, right - j]))
    return y.clip(0, 1)


def colour(x: np.ndarray, seen: np.ndarray, w: dict[str, np.ndarray], i: int, j: int, away: np.ndarray) -> np.ndarray:
    """The colour that the pixel (i, j) says is found at some distance from it."""
    unfolded = np.zeros((len(seen), 3, 3))
    for a in range(3):
        for b in range(3):
            if 0 <= i + a - 1 < x.shape[1] and 0 <= j + b - 1 < x.shape[2]:
                unfolded[:, a, b] = seen[:, i + a - 1, j + b - 1]
    first = w["around.weight"].reshape(len(seen), -1) @ unfolded.ravel() + w["around.bias"] + w["offset.weight"] @ away
    second = np.maximum(w["colour.1.weight"] @ np.maximum(first, 0) + w["colour.1.bias"], 0)
    return x[:, i, j] + w["colour.3.weight"] @ second + w["colour.3.bias"]


def check(build, options: dict) -> None:
    """The picture that the encoder gets, and the vector that it makes of it."""
    draw = np.random.default_rng(4)
    image = Image.fromarray(draw.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    part = build(encoder=INNER, **options)
    with tempfile.TemporaryDirectory() as folder:
        part.save(folder)
        file = Path(folder, "resampler.safetensors")
        weights = {
            name: x if name == "reach" else draw.normal(scale=0.3, size=x.shape).astype(np.float32)
            for name, x in load_file(file).items()
        }
        save_file(weights, file)
        changed = build(encoder=INNER, path=folder)
        found, vector = changed.module()[0](*changed.prepare([image])), changed.encode([image])
        assert changed.fingerprint != part.fingerprint
    x = np.asarray(image).transpose(2, 0, 1) / 255
    assert weights["reach"] == options.get("reach", 1.0)
    expected = rendered(x, weights)
    np.testing.assert_allclose(found[0].detach(), expected, atol=1e-4)
    with torch.no_grad():
        plain = changed.module()[1](torch.from_numpy(expected[None]).float())
    np.testing.assert_allclose(vector, plain, atol=1e-4)
