"""Smoothing, chances, 3 x 3 means and the adapter by loops; anchors are means of their clusters; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [
    {},
    {"steps": 0, "smoothing": 0.3, "anchors": 2},
    {"anchors": 3, "tail": 0.2, "temperature": 0.3, "steps": 3, "noise": 0.7},
]
DEFAULT = {"smoothing": 0.03, "tail": 0.02, "temperature": 0.07, "steps": 5, "noise": 1.4, "anchors": 50}


def unit(x):
    return x / math.sqrt(sum(float(v) ** 2 for v in x))


def smoothed(picture, width):
    x = [unit(v) for row in picture for v in row]
    out = []
    for a in x:
        weight = [math.exp((float(a @ b) - 1) / width) for b in x]
        out.append(unit(sum(w * b for w, b in zip(weight, x, strict=True)) / sum(weight)))
    return np.array(out)


def around(p):
    h, w = p.shape
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            near = [p[a, b] for a in range(i - 1, i + 2) for b in range(j - 1, j + 2) if 0 <= a < h and 0 <= b < w]
            out[i, j] = sum(near) / len(near)
    return out


def chance(z, anchors, level, temperature):
    """The softmax of two, of a position with its further coordinate."""
    normal = max(float(z[:-1] @ c) for c in anchors)
    a, b = math.exp(z[-1] * level / temperature), math.exp(normal / temperature)
    return a / (a + b)


def moved(z, w, bias, rows):
    gate = [math.tanh(float(one @ z) + float(b)) for one, b in zip(w, bias, strict=True)]
    parts = [1 / (len(rows) - 1)] * (len(rows) - 1) + [1.0]
    out = 0.5 * z + 0.5 * sum(g * share * r for g, share, r in zip(gate, parts, rows, strict=True))
    return out * np.linalg.norm(z) / np.linalg.norm(out)


def loss(w, bias, z, noisy, rows, pseudo, temperature):
    anchors, level = rows[:-1, :-1], rows[-1, -1]
    p = [chance(moved(one, w, bias, rows), anchors, level, temperature) for one in z]
    q = [chance(moved(one, w, bias, rows), anchors, level, temperature) for one in noisy]
    entropy = sum(-a * math.log(a) - (1 - a) * math.log(1 - a) for a in p) / len(p)
    normal = sum(-(1 - m) * math.log(1 - a) for m, a in zip(pseudo, p, strict=True)) / len(p)
    return entropy + 0.5 * sum(-math.log(a) for a in q) / len(q) + 0.5 * normal


def trained(v, anchors, level, temperature, steps, noise):
    """Chances after steps of AdamW, whose gradients are central differences."""
    d = v.shape[1]
    draws = np.random.default_rng(0).normal(size=v.shape)
    noisy = [np.append(unit(a + noise / math.sqrt(d) * e), 1.0) for a, e in zip(v, draws, strict=True)]
    z = [np.append(a, 1.0) for a in v]
    rows = np.array([np.append(c, 0.0) for c in anchors] + [np.append(np.zeros(d), level)])
    theta = np.zeros(len(rows) * (d + 2))
    split = lambda t: (t[: len(rows) * (d + 1)].reshape(len(rows), d + 1), t[len(rows) * (d + 1) :])  # noqa: E731
    pseudo = [chance(one, anchors, level, temperature) > 0.5 for one in z]
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, steps + 1):
        slope = np.zeros_like(theta)
        for i in range(len(theta)):
            ends = []
            for side in (1e-5, -1e-5):
                nudged = theta.copy()
                nudged[i] += side
                ends.append(loss(*split(nudged), z, noisy, rows, pseudo, temperature))
            slope[i] = (ends[0] - ends[1]) / 2e-5
        theta *= 1 - 1e-3 * 1e-2
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        theta -= 1e-3 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return np.array([chance(moved(one, *split(theta), rows), anchors, level, temperature) for one in z])


def check(build, options):
    o = {**DEFAULT, **options}
    rng = np.random.default_rng(3)
    kinds = np.array([[2.0, 0.3, 0.0], [0.2, 1.5, 0.4]])
    normal = kinds[rng.integers(2, size=(9, 2, 3))] + 0.2 * rng.normal(size=(9, 2, 3, 3))
    odd = normal[:2].copy()
    odd[0, 1, 2] = [-1.0, 0.2, 1.0]
    part = build(**{**options, "anchors": min(o["anchors"], 3)}).fit(normal)
    v = np.concatenate([smoothed(p, o["smoothing"]) for p in normal])
    for at, picture in enumerate(normal[:2]):
        assert np.allclose(part.smoothed(picture), v[6 * at : 6 * at + 6])
    nearest = np.array([[float(a @ c) for c in part.anchors_] for a in v])
    assert len(part.anchors_) == min(o["anchors"], 3)
    for c, anchor in enumerate(part.anchors_):
        assert np.allclose(unit(v[nearest.argmax(1) == c].mean(0)), anchor, atol=0.1)
    assert part.level_ == pytest.approx(np.quantile(nearest.max(1), o["tail"]))
    for picture, found in zip(odd, part.maps(odd), strict=True):
        own = smoothed(picture, o["smoothing"])
        p = trained(own, part.anchors_, part.level_, o["temperature"], o["steps"], o["noise"])
        assert np.allclose(found, around(p.reshape(2, 3)), atol=2e-4)
    assert np.allclose(part.score(odd), part.maps(odd).max((1, 2)))
    again = build(**options).fit(normal)
    assert len(again.anchors_) <= o["anchors"]
    for wrong, said in ((normal[0], "positions of pictures"), (normal[..., :2], "use the same encoder")):
        with pytest.raises(DataError, match=said):
            part.score(wrong)
