"""The small residual network in loops over the kernel, with weights drawn here."""

from __future__ import annotations

import tempfile

import numpy as np
from PIL import Image

CASES: list[dict] = [{}, {"width": 16, "side": 20}]


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    size = kernel.shape[2]
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    out = (padded.shape[1] - size) // stride + 1
    y = np.zeros((len(kernel), out, out))
    for i in range(out):
        for j in range(out):
            seen = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            for channel in range(len(kernel)):
                y[channel, i, j] = (kernel[channel] * seen).sum()
    return y


def grouped(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Normalised over eight groups of channels."""
    y = np.empty_like(x)
    each = len(x) // 8
    for g in range(8):
        part = x[g * each : (g + 1) * each]
        y[g * each : (g + 1) * each] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    return y * weight[:, None, None] + bias[:, None, None]


def check(build, options: dict) -> None:
    side, draw = options.get("side", 32), np.random.default_rng(8)
    part = build(**options)
    state = {
        k: draw.normal(scale=0.2, size=tuple(v.shape)).astype(np.float32) for k, v in part.module().state_dict().items()
    }
    pixels = draw.integers(0, 255, (side, side, 3), dtype=np.uint8)
    x = 2 * (pixels.transpose(2, 0, 1) / 255) - 1
    x = convolve(x, state["stem.weight"], 1) + state["stem.bias"][:, None, None]
    for block in range(3):
        at = f"blocks.{block}"
        inner = grouped(
            convolve(x, state[f"{at}.first.weight"], 2), state[f"{at}.norms.0.weight"], state[f"{at}.norms.0.bias"]
        )
        inner = convolve(np.maximum(inner, 0), state[f"{at}.second.weight"], 1)
        inner = grouped(inner, state[f"{at}.norms.1.weight"], state[f"{at}.norms.1.bias"])
        skip = convolve(x, state[f"{at}.skip.weight"], 2) + state[f"{at}.skip.bias"][:, None, None]
        x = np.maximum(inner + skip, 0)
    with tempfile.TemporaryDirectory() as folder:
        part.save(folder, state)
        (given,) = build(**options, path=folder).encode([Image.fromarray(pixels)])
    np.testing.assert_allclose(given, x.mean((1, 2)), rtol=1e-4, atol=1e-4)
