"""Every picture must be one of the 14 operations by plain numpy, each drawn about equally often in both directions."""

from __future__ import annotations

from collections import Counter

import numpy as np
from PIL import Image

CASES: list[dict] = [
    {}, {"operations": 1, "magnitude": 4}, {"operations": 1, "magnitude": 17}, {"operations": 1, "magnitude": 0},
]  # fmt: skip
SIZE = (26, 22)


def check(build, options):
    n, m = options.get("operations", 2), options.get("magnitude", 9) / 10
    part, image = build(**options), _image()
    candidates = {None: np.asarray(image, dtype=float)}
    for _ in range(n):
        candidates = {
            (before, name): made for before, x in candidates.items() for name, made in _all(x, m).items()
        }  # fmt: skip
    stack = np.stack([c for c in candidates.values()])
    names = list(candidates)
    found = Counter()
    draws = 700 if n == 1 else 60
    for seed in range(draws):
        got = np.asarray(part(image, rng=np.random.default_rng(seed)), dtype=float)
        off = np.abs(stack - got).mean(axis=(1, 2, 3))
        best = int(off.argmin())
        assert off[best] < (0.3 if n == 1 else 1.5), (options, seed, names[best], off[best])
        found[names[best][1].split("+")[0].split("-neg")[0]] += 1
    if n == 1 and m:
        _drawn_equally(found, draws)
        _both_directions(build)


def _both_directions(build):
    """Signs are drawn: of the operations with two directions both are met, about equally often."""
    part, image = build(operations=1, magnitude=6), _image()
    made = _all(np.asarray(image, dtype=float), 0.6)
    both = Counter()
    for seed in range(1200):
        got = np.asarray(part(image, rng=np.random.default_rng(seed)), dtype=float)
        best = min(made, key=lambda name: np.abs(made[name] - got).mean())
        if best.endswith(("+", "-neg")):
            both[best.endswith("+")] += 1
    assert abs(both[True] - both[False]) < 4 * (both[True] + both[False]) ** 0.5


def _drawn_equally(found, draws):
    expected = draws / 14
    assert len(found) == 14, sorted(found)
    for name, count in found.items():
        assert abs(count - expected) < 4.5 * expected**0.5, (name, count)


def _image():
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    bands = np.stack([20 + x * 6, 40 + y * 6, 150 - 4 * x + 2 * y], -1) + noise
    return Image.fromarray(bands.astype(np.uint8))


def _all(x, m):
    made = {
        "identity": x,
        "autocontrast": _autocontrast(x),
        "equalize": _equalize(x),
        "solarize": np.where(x < max(0, round(256 * (1 - m))), x, 255 - x),
        "posterize": _posterize(x, max(1, round(8 - 4 * m))),
    }
    for sign, mark in ((1, "+"), (-1, "-neg")):
        factor = max(0.0, 1 + sign * 0.9 * m)
        grey = np.round(x @ [0.299, 0.587, 0.114])
        for name, start in (
            ("colour", np.repeat(grey[..., None], 3, 2)),
            ("contrast", np.full_like(x, int(grey.mean() + 0.5))),
            ("brightness", np.zeros_like(x)),
            ("sharpness", _smooth(x)),
        ):
            made[name + mark] = np.clip(np.trunc(np.clip(start + factor * (x - start), 0, 255)), 0, 255)
        angle = np.deg2rad(sign * 30 * m)
        far = sign * min(0.45 * m, 0.75)
        cos, sin = np.cos(angle), np.sin(angle)
        made["rotate" + mark] = _sample(x, lambda u, v, c=cos, s=sin: (c * u - s * v, s * u + c * v))
        made["shear-x" + mark] = _sample(x, lambda u, v, s=sign * 0.3 * m: (u + s * v, v))
        made["shear-y" + mark] = _sample(x, lambda u, v, s=sign * 0.3 * m: (u, v + s * u))
        made["translate-x" + mark] = _sample(x, lambda u, v, s=far * SIZE[0]: (u + s, v))
        made["translate-y" + mark] = _sample(x, lambda u, v, s=far * SIZE[1]: (u, v + s))
    return made


def _autocontrast(x):
    out = np.empty_like(x)
    for band in range(3):
        low, high = x[..., band].min(), x[..., band].max()
        out[..., band] = (
            np.clip((x[..., band] - low) * 255 / (high - low), 0, 255).astype(int) if high > low else x[..., band]
        )
    return out


def _equalize(x):
    """Each value becomes its rank among the pixels, in 255 steps whose size leaves the largest value out."""
    out = np.empty_like(x)
    for band in range(3):
        counts = [int((x[..., band] == v).sum()) for v in range(256)]
        used = [c for c in counts if c]
        step = (sum(used) - used[-1]) // 255
        if len(used) <= 1 or step == 0:
            out[..., band] = x[..., band]
            continue
        table, seen = [], step // 2
        for c in counts:
            table.append(min(255, seen // step))
            seen += c
        out[..., band] = np.array(table)[x[..., band].astype(int)]
    return out


def _posterize(x, bits):
    keep = 2 ** (8 - bits)
    return np.floor(x / keep) * keep


def _smooth(x):
    """A 3 x 3 mean with weight 5 in the middle; the border stays."""
    out = x.copy()
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            total = sum(x[i + a, j + b] for a in (-1, 0, 1) for b in (-1, 0, 1)) + 4 * x[i, j]
            out[i, j] = np.round(total / 13)
    return out


def _sample(x, where):
    """Bilinear sampling at `where(u, v)` for u, v measured from the middle; grey outside, edges repeated."""
    height, width = x.shape[:2]
    out = np.full_like(x, 128.0)
    for i in range(height):
        for j in range(width):
            u, v = where(j + 0.5 - width / 2, i + 0.5 - height / 2)
            column, row = u + width / 2, v + height / 2
            if not (0 <= column < width and 0 <= row < height):
                continue
            column, row = column - 0.5, row - 0.5
            left, top = int(np.floor(column)), int(np.floor(row))
            a, b = column - left, row - top
            cols = [min(max(c, 0), width - 1) for c in (left, left + 1)]
            rows = [min(max(r, 0), height - 1) for r in (top, top + 1)]
            upper = (1 - a) * x[rows[0], cols[0]] + a * x[rows[0], cols[1]]
            lower = (1 - a) * x[rows[1], cols[0]] + a * x[rows[1], cols[1]]
            out[i, j] = np.trunc((1 - b) * upper + b * lower)
    return out
