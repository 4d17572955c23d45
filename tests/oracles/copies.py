"""The rule of copies with integral images: a cut is averaged by differences of running sums, pair by pair."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection

CASES = [{}, {"surely": 0.97}]
CUTS = (0.0, 0.04, 0.08, 0.12)


def averaged(picture, box, count):
    """What `count` x `count` equal pieces of a box hold on average."""
    sums = np.pad(picture.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def total(y, x):
        y0, x0 = np.minimum(y.astype(int), 63), np.minimum(x.astype(int), 63)
        v, u = y - y0, x - x0
        top = (1 - u) * sums[y0, x0] + u * sums[y0, x0 + 1]
        return (1 - v) * top + v * ((1 - u) * sums[y0 + 1, x0] + u * sums[y0 + 1, x0 + 1])

    ys = 64 * (box[0] + (box[1] - box[0]) * np.arange(count + 1) / count)
    xs = 64 * (box[2] + (box[3] - box[2]) * np.arange(count + 1) / count)
    corners = total(*np.meshgrid(ys, xs, indexing="ij"))
    area = (ys[1] - ys[0]) * (xs[1] - xs[0])
    return (corners[1:, 1:] - corners[1:, :-1] - corners[:-1, 1:] + corners[:-1, :-1]) / area


def outline(p):
    squares = np.zeros(p.shape[:2])
    for c in range(3):
        squares[:, 1:-1] += (p[:, 2:, c] - p[:, :-2, c]) ** 2
        squares[1:-1] += (p[2:, :, c] - p[:-2, :, c]) ** 2
    return np.sqrt(squares)


def shape_of(a):
    """What correlates by its product: less its mean, of length one; nothing where all is one value."""
    away = a.ravel() - a.mean()
    return away / np.linalg.norm(away) if a.std() > 1e-8 else away * 0


def correlation(a, b):
    return shape_of(a) @ shape_of(b)


def climbed(a, b, box):
    fixed = averaged(a, (0, 1, 0, 1), 48)
    best, step = correlation(fixed, averaged(b, box, 48)), 0.02
    while step > 0.004:
        moved = False
        for edge in range(4):
            for by in (-step, step):
                tried = list(box)
                tried[edge] = min(1.0, max(0.0, tried[edge] + by))
                if tried[1] - tried[0] < 0.6 or tried[3] - tried[2] < 0.6:
                    continue
                now = correlation(fixed, averaged(b, tried, 48))
                if now > best + 1e-5:
                    best, box, moved = now, tried, True
        if not moved:
            step /= 2
    return best, box


def worst_block(p, q, box):
    a, b = (
        np.stack([averaged(v[..., c] / 255, at, 48) for c in range(3)], -1) for v, at in ((p, (0, 1, 0, 1)), (q, box))
    )
    la, lb = outline(a), outline(b)
    pieces = [(slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8)) for i in range(6) for j in range(6)]
    colour = max(np.abs(a[s] - b[s]).mean() for s in pieces)
    most = max((la[s] + lb[s]).sum() for s in pieces)
    return max(colour, max(np.abs(la[s] - lb[s]).sum() for s in pieces) / most)


def scene(rng, size=64):
    """A few filled shapes on white."""
    p = np.full((size, size, 3), 255.0)
    for _ in range(4):
        y, x, r = *rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.1, 0.25) * size
        ys, xs = np.mgrid[:size, :size]
        p[(ys - y) ** 2 + (xs - x) ** 2 < r**2] = rng.uniform(0, 255, 3)
    return p


def world():
    """Five pictures, and a cut of the first, the second in other colours, the third so as another, a darker one."""
    rng = np.random.default_rng(3)
    pictures = [scene(rng) for _ in range(5)]
    box = (0.05, 0.95, 0.03, 0.98)
    cut = np.stack([averaged(pictures[0][..., c], box, 64) for c in range(3)], -1)
    pictures += [cut, pictures[1][..., [1, 2, 0]], pictures[2][..., [2, 0, 1]], pictures[3] * 0.97]
    said = ["a", "b", "c", "d", "e", "A ", "b", "another", ""]
    pixels = np.clip(np.round(pictures), 0, 255).astype(np.uint8)
    x = rng.normal(size=(len(said), 8)).astype(np.float32)
    made = {"id": [f"i{i}" for i in range(len(said))], "image": [f"{i}.png" for i in range(len(said))], "text": said}
    return pixels, x, Collection.of({**made, "group": np.arange(len(said))})


def check(build, options):
    pixels, x, collection = world()
    n = len(pixels)
    found = build(**options)({"pixels": pixels, "pictures": x}, collection, seed=0)
    lines, said = [outline(p / 255) for p in pixels], collection.values("text")
    whole = [shape_of(averaged(line, (0, 1, 0, 1), 24)) for line in lines]
    expected = np.zeros(n)
    boxes = [(t, 1 - u, v, 1 - w) for t in CUTS for u in CUTS for v in CUTS for w in CUTS]
    for b in range(n):
        cuts = np.stack([shape_of(averaged(lines[b], box, 24)) for box in boxes])
        for a in range(n):
            if a == b:
                continue
            agreed = cuts @ whole[a]
            place = int(np.argmax(agreed))
            same = said[a].lower().strip() == said[b].lower().strip()
            weight = 6 if said[a] and said[b] else 1
            far = not same and worst_block(pixels[a], pixels[b], boxes[place]) > (0.1 if weight == 6 else 0.35)
            if agreed[place] < (0.75 if same else 0.88) or far:
                continue
            shape, box = climbed(lines[a], lines[b], boxes[place])
            score = (1 + shape) / 2 if same else 1 - weight * worst_block(pixels[a], pixels[b], box)
            expected[max(a, b)] = max(expected[max(a, b)], min(max(score, 0.0), 0.9999))
    np.testing.assert_allclose(found.table["score"].to_numpy(), expected, atol=2e-4)
    named = {row["item"]: row["to"] for row in found.proposed().rows()}
    true = {"i5": "i0", "i6": "i1", "i8": "i3"}
    assert named == {item: to for item, to in true.items() if expected[int(item[1:])] >= options.get("surely", 0.94)}
