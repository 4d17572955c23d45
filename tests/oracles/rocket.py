"""Oracle: every kernel laid over every window by loops; and the kernels are those that the paper draws."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}, {"kernels": 60, "steps": 40, "seed": 3}]


def check(build, options: dict) -> None:
    """Windows of several lengths and numbers of channels, one of them shorter than most kernels reach."""
    kernels, steps = options.get("kernels", 1000), options.get("steps", 128)
    part = build(**options)
    rng = np.random.default_rng(1)
    for channels, length in ((1, 90), (6, 50), (3, 6)):
        drawn = part.drawn(channels)
        _check_kernels(drawn, kernels, steps, channels)
        x = rng.normal(size=(channels, length)).cumsum(1) + rng.normal(size=(channels, 1)) * 5
        (found,) = part.encode([x.astype(np.float32)])
        z = [[(v - sum(row) / length) / _deviation(row) for v in row] for row in x.astype(np.float32).tolist()]
        for j in range(0, kernels, max(1, kernels // 60)):
            values = _answers(drawn[j], z, length)
            positive = sum(v > 0 for v in values) / len(values)
            # an answer within rounding of 0 may count on either side
            close = sum(abs(v) < 1e-4 for v in values) / len(values)
            assert abs(found[j] - positive) <= close + 1e-6
            assert abs(found[kernels + j] - max(values)) < 1e-4 * (1 + abs(max(values)))


def _deviation(row: list[float]) -> float:
    mean = sum(row) / len(row)
    return math.sqrt(sum((v - mean) ** 2 for v in row) / len(row))


def _answers(kernel, z: list[list[float]], length: int) -> list[float]:
    taps = len(kernel.weights[0])
    reach = (taps - 1) * kernel.dilation
    edge = reach // 2 if kernel.padded or reach >= length else 0
    values = []
    for start in range(-edge, length + edge - reach):
        total = kernel.bias
        for row, channel in zip(kernel.weights.tolist(), kernel.channels.tolist(), strict=True):
            for i in range(taps):
                at = start + i * kernel.dilation
                if 0 <= at < length:
                    total += row[i] * z[channel][at]
        values.append(total)
    return values


def _check_kernels(drawn, kernels: int, steps: int, channels: int) -> None:
    assert len(drawn) == kernels
    for kernel in drawn:
        seen, taps = kernel.weights.shape
        assert taps in (7, 9, 11) and len(set(kernel.channels.tolist())) == seen <= min(channels, taps)
        assert abs(kernel.weights.sum(1)).max() < 1e-9 and -1 <= kernel.bias <= 1
        assert kernel.dilation == 1 or (taps - 1) * kernel.dilation <= steps - 1
    for taps in (7, 9, 11):
        assert abs(sum(k.weights.shape[1] == taps for k in drawn) / kernels - 1 / 3) < 3 / math.sqrt(kernels)
    assert abs(sum(k.padded for k in drawn) / kernels - 1 / 2) < 3 / math.sqrt(kernels)
    # of dilations 2^u, u uniform up to the largest, as many are below the root of the largest as above it
    middle = [k.dilation < math.sqrt((steps - 1) / (k.weights.shape[1] - 1)) for k in drawn]
    assert 0.4 - 2 / math.sqrt(kernels) < sum(middle) / kernels < 0.8 + 2 / math.sqrt(kernels)
