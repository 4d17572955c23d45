"""Oracle: the spectrum by its sum, the triangles band by band, means and lengths by loops."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}, {"rate": 8000, "bands": 10, "pieces": 3}]


def mel(f: float) -> float:
    return 1127 * math.log(1 + f / 700)


def frames_of(x: list[float], rate: int, bands: int) -> list[list[float]]:
    length, hop, size = int(rate * 0.025), int(rate * 0.01), 1
    while size < length:
        size *= 2
    x = x + [0.0] * max(0, length - len(x))
    low, high = mel(125), mel(min(7500, rate / 2))
    step = (high - low) / (bands + 1)
    found, start = [], 0
    while start + length <= len(x):
        loud = []
        for b in range(1, size // 2 + 1):
            re = im = 0.0
            for s in range(length):
                v = x[start + s] * (0.5 - 0.5 * math.cos(2 * math.pi * s / length))
                re += v * math.cos(2 * math.pi * b * s / size)
                im -= v * math.sin(2 * math.pi * b * s / size)
            loud.append((b * rate / size, math.hypot(re, im)))
        frame = []
        for m in range(bands):
            middle, total = low + (m + 1) * step, 0.0
            for f, value in loud:
                total += max(0.0, 1 - abs(mel(f) - middle) / step) * value
            frame.append(math.log(total + 0.01))
        found.append(frame)
        start += hop
    return found


def mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def check(build, options: dict) -> None:
    part = build(**options)
    rate, bands, pieces = options.get("rate", 16_000), options.get("bands", 64), options.get("pieces", 16)
    rng = np.random.default_rng(3)
    time = np.arange(int(rate * 0.068)) / rate
    tone = np.sin(2 * np.pi * 900 * time) * time + 0.05 * rng.normal(size=len(time))
    items = [np.stack([tone, 0.5 * tone + 0.1]), rng.normal(size=(1, 30))]
    tokens = part.encode_tokens(items)
    for item, vector, rows in zip(items, part.encode(items), tokens, strict=True):
        found = frames_of([sum(column) / len(column) for column in item.T.tolist()], rate, bands)
        assert len(found) in (1, 5)
        average = mean(found)
        spread = [math.sqrt(sum((f[m] - average[m]) ** 2 for f in found) / len(found)) for m in range(bands)]
        np.testing.assert_allclose(vector, average + spread, rtol=1e-5, atol=1e-5)
        runs = min(pieces, len(found))
        longer = len(found) % runs
        assert len(rows) == runs
        at = 0
        for number, row in enumerate(rows):
            count = len(found) // runs + (number < longer)
            whole = mean(found[at : at + count])
            length = math.sqrt(sum(v * v for v in whole))
            np.testing.assert_allclose(row, [v / length for v in whole], rtol=1e-5, atol=1e-6)
            at += count
