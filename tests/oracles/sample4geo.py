"""Oracle: a plan is read row by row, and what each opening row brought is worked out in loops, on the globe too."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.plan import SampleKeys

CASES: list[dict] = [{}, {"neighbours": 10, "select": 10, "start": 2, "refresh": 1}, {"neighbours": 40, "select": 20}]
N, BATCH = 300, 100


def check(build, options: dict) -> None:
    """By place before `start`, by what queries score among documents afterwards; groups are left out."""
    count, half, start = options.get("neighbours", 128), options.get("select", 64) // 2, options.get("start", 4)
    rng = np.random.default_rng(0)
    latitude, longitude = np.degrees(np.arcsin(rng.uniform(-1, 1, N))), rng.uniform(-180, 180, N)
    places = np.array([_on_the_globe(a, b) for a, b in zip(latitude, longitude, strict=True)], np.float32)
    query, document = (rng.normal(size=(N, 5)).astype(np.float32) for _ in range(2))
    rows = np.arange(N)
    keys = SampleKeys(rows, rows // 2, rows, query, document, extra={"place_vectors": places})
    part = build(**options)
    by_place = [[_great_circle(latitude[i], longitude[i], latitude[j], longitude[j]) for j in rows] for i in rows]
    unit = document / np.linalg.norm(document, axis=1, keepdims=True)
    by_towers = [[-float(query[i] @ unit[j]) for j in rows] for i in rows]
    for epoch, distance in ((0, by_place), (start - 1, by_place), (start, by_towers), (start + 3, by_towers)):
        near = []
        for i in range(N):
            ordered = sorted(range(N), key=lambda j: distance[i][j])[: count + 1]
            near.append([j for j in ordered if j // 2 != i // 2][:count])
        plan = part(keys, seed=0, epoch=epoch, batch_size=BATCH)
        assert [len(batch) for batch in plan] == [BATCH] * (N // BATCH)
        assert sorted(int(row) for batch in plan for row in batch) == list(range(N))
        _check_filling(plan, near, half)
    _check_far_ones_are_drawn_evenly(part, keys, count, half)


def _check_filling(plan, near: list[list[int]], half: int) -> None:
    """All batches where nothing is left to chance, otherwise up to the second opening row of the first batch."""
    chance = len(near[0]) > 2 * half + 1
    used: set[int] = set()
    for batch in plan[:1] if chance else plan:
        at = 0
        while at < len(batch):
            opening = int(batch[at])
            used.add(opening)
            at += 1
            nearest = [j for j in near[opening][:half] if j not in used][: len(batch) - at]
            assert [int(j) for j in batch[at : at + len(nearest)]] == nearest
            used |= set(nearest)
            at += len(nearest)
            others = [j for j in near[opening][half:] if j not in used]
            taken = min(half if chance else len(others), len(batch) - at)
            assert {int(j) for j in batch[at : at + taken]} <= set(others)
            used |= {int(j) for j in batch[at : at + taken]}
            at += taken
            if chance:
                break


def _check_far_ones_are_drawn_evenly(part, keys, count: int, half: int) -> None:
    """Of what is left of the neighbours every rank is drawn equally often, as far as the first row of a plan shows."""
    if count <= 2 * half:
        return
    unit = keys.document / np.linalg.norm(keys.document, axis=1, keepdims=True)
    drawn = np.zeros(count)
    plans = 200
    for epoch in range(1000, 1000 + plans):
        first = [int(j) for j in part(keys, seed=0, epoch=epoch, batch_size=BATCH)[0]]
        score = unit @ keys.query[first[0]]
        ordered = [j for j in np.argsort(-score)[: count + 1].tolist() if j // 2 != first[0] // 2][:count]
        for j in first[1 + half : 1 + 2 * half]:
            drawn[ordered.index(j)] += 1
    assert not drawn[:half].any()
    share = half / (count - half)
    early, late = np.array_split(drawn[half : count - 2] / plans, 2)
    slack = 5 * math.sqrt(share * (1 - share) / plans / len(late))
    assert abs(early.mean() - share) < slack and abs(late.mean() - share) < slack


def _on_the_globe(latitude: float, longitude: float) -> list[float]:
    a, b = math.radians(latitude), math.radians(longitude)
    return [math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)]


def _great_circle(a: float, b: float, c: float, d: float) -> float:
    """Haversine, in radians."""
    a, b, c, d = map(math.radians, (a, b, c, d))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * math.asin(math.sqrt(min(1.0, h)))
