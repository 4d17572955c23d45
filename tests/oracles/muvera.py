"""Encodings token by token, bucket by bucket and sign by sign, as the paper defines them; then MaxSim in loops."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [
    {},
    {"candidates": 5, "repetitions": 3, "k_sim": 2, "dim_proj": 5, "final": 0, "seed": 3},
    {"candidates": 5, "repetitions": 2, "k_sim": 3, "dim_proj": 0, "final": 11, "seed": 1},
    {"candidates": 6, "repetitions": 2, "k_sim": 0, "dim_proj": 4, "final": 0},
]
WIDTH, ITEMS, QUERIES, K = 12, 40, 6, 4


def texts(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        rows = rng.normal(size=(rng.integers(1, 7), WIDTH))
        made.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32))
    return made


def bucket(token: np.ndarray, planes: np.ndarray) -> list[bool]:
    return [sum(float(g) * float(x) for g, x in zip(plane, token, strict=True)) > 0 for plane in planes]


def projected(vector: np.ndarray, signs: np.ndarray) -> list[float]:
    if not len(signs):
        return [float(x) for x in vector]
    return [
        sum(int(s) * float(x) for s, x in zip(row, vector, strict=True)) / math.sqrt(len(signs)) for row in signs
    ]  # fmt: skip


def encoding(tokens: np.ndarray, drawn, *, query: bool) -> np.ndarray:
    whole: list[float] = []
    repetitions, k_sim = drawn.planes.shape[:2]
    for repetition in range(repetitions):
        places = [bucket(token, drawn.planes[repetition]) for token in tokens]
        for number in range(2**k_sim):
            wanted = [bool(number >> bit & 1) for bit in range(k_sim)]
            inside = [token for token, place in zip(tokens, places, strict=True) if place == wanted]
            if query:
                block = sum(inside, np.zeros(WIDTH))
            elif inside:
                block = sum(inside, np.zeros(WIDTH)) / len(inside)
            else:
                apart = [sum(a != b for a, b in zip(place, wanted, strict=True)) for place in places]
                block = tokens[apart.index(min(apart))]
            whole += [x / math.sqrt(repetitions) for x in projected(block, drawn.signs[repetition])]
    return np.asarray(projected(np.asarray(whole), drawn.final))


def maxsim(query: np.ndarray, tokens: np.ndarray) -> float:
    best = [max(sum(float(a) * float(b) for a, b in zip(q, p, strict=True)) for p in tokens) for q in query]
    return sum(best) / len(query)


def check(build, options: dict) -> None:
    documents, queries = texts(0, ITEMS), texts(1, QUERIES)
    ids = [f"{n:02d}" for n in range(ITEMS)]
    part = build(**options)
    part.add(ids[:25], documents[:25])
    part.add(ids[25:], documents[25:])
    drawn = part.encodings
    left = np.asarray([encoding(q, drawn, query=True) for q in queries])
    right = np.asarray([encoding(p, drawn, query=False) for p in documents])
    np.testing.assert_allclose(drawn.queries(queries), left, atol=2e-5)
    np.testing.assert_allclose(drawn.documents(documents), right, atol=2e-5)
    hits = part.search(queries, K)
    looked = max(options.get("candidates", 400), 4 * K)
    for number, query in enumerate(queries):
        near = sorted(range(ITEMS), key=lambda n: -float(left[number] @ right[n]))[:looked]
        best = sorted((-maxsim(query, documents[n]), ids[n]) for n in near)[:K]
        assert hits.ids[number].tolist() == [name for _, name in best]
        np.testing.assert_allclose(hits.scores[number], [-score for score, _ in best], atol=3e-4)
