"""Pairs of items that are close: perceptual hashes by Hamming distance, texts by their shared shingles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tellapart.core.close import Pairs
from tellapart.core.needs import require
from tellapart.core.pieces import content_key, done_once
from tellapart.core.progress import Progress
from tellapart.data.groups import Sets

ALL_PAIRS = 20_000
BLOCK = 1024
PERMUTATIONS = 64
BANDS = 16
SMALL_BUCKET, STEPS = 32, 4
# How far an estimate by 64 values may be below the truth before a pair is missed: two standard errors.
SLACK = 0.1
KEPT_SHINGLES = 5_000_000
SHINGLE = 5
SHINGLE_CHARS = 20_000
SHORTEST = 24


def hamming_pairs(codes: np.ndarray, radius: int) -> Pairs:
    """All pairs of rows at most `radius` bits apart: (a, b, bits) with a < b.

    Few rows are compared all with all. Of many, only those that share one of `radius + 1` pieces of the code: two codes
    that differ in `radius` bits must agree in one whole piece, so nothing is missed.

    Args:
        codes: [n, bytes] uint8.
    """
    n, width = codes.shape
    found: list[Pairs] = []
    if n <= ALL_PAIRS:
        for start in range(0, n, BLOCK):
            found.append(_close(codes, np.arange(start, min(start + BLOCK, n)), np.arange(start, n), radius))
    else:
        bits = np.unpackbits(codes, axis=1)
        for piece in np.array_split(np.arange(8 * width), min(radius + 1, 8 * width)):
            for members in _buckets(np.packbits(bits[:, piece], axis=1)):
                for start in range(0, len(members), BLOCK):
                    found.append(_close(codes, members[start : start + BLOCK], members[start:], radius))
    return _unique(found)


def text_pairs(texts: Sequence[str], near: float, same: float, progress: Progress | None = None) -> Pairs:
    """Pairs of texts whose sets of five-letter shingles overlap: (a, b, Jaccard similarity >= `near`) with a < b.

    Candidates agree in one of 16 bands of datasketch's MinHash (seeded; finds 99.9% at 0.8), and each is checked
    exactly. Of texts that are all alike not every pair is given, only enough to connect them: within a large bucket
    neighbours in the order of their signatures are compared, and a pair is passed over when its texts are connected
    already (by pairs of at least `same`, where it might be one). Texts under 24 characters are left to the exact hash.
    """
    rows = np.asarray([i for i, text in enumerate(texts) if len(text) >= SHORTEST], np.int64)
    signatures = _signatures([texts[i] for i in rows], progress)
    a, b = _candidates(signatures)
    alike = (signatures[a] == signatures[b]).mean(axis=1)
    order = np.argsort(-alike, kind="stable")
    order = order[alike[order] >= near - SLACK]
    sets, loose = Sets(len(rows)), Sets(len(rows))
    kept: dict[int, set[bytes]] = {}
    room = KEPT_SHINGLES

    def pieces(row: int) -> set[bytes]:
        nonlocal room
        if row not in kept:
            if room < 0:
                kept.clear()
                room = KEPT_SHINGLES
            kept[row] = shingles(texts[row])
            room -= len(kept[row])
        return kept[row]

    found: list[tuple[int, int, float]] = []
    for place, i in enumerate(order):
        x, y = int(a[i]), int(b[i])
        if sets.find(x) == sets.find(y) or (alike[i] < same - SLACK and loose.find(x) == loose.find(y)):
            continue
        score = jaccard(pieces(rows[x]), pieces(rows[y]))
        if score >= near:
            found.append((int(rows[x]), int(rows[y]), score))
            loose.unite(x, y)
            if score >= same:
                sets.unite(x, y)
        if progress is not None and place % BLOCK == 0:
            progress(place, len(order))
    first, second, scores = np.asarray(found, float).reshape(-1, 3).T
    return _unique([(first, second, scores)])


def _signatures(texts: Sequence[str], progress: Progress | None) -> np.ndarray:
    """[n, 64] MinHash values."""
    require("datasketch", "finding near duplicates of texts")
    starts = range(0, len(texts), BLOCK)
    blocks = [np.zeros((0, PERMUTATIONS), np.uint64)]

    def piece(number: int) -> list[str]:
        return list(texts[starts[number] : starts[number] + BLOCK])

    def key() -> str:
        return content_key("signatures", PERMUTATIONS, SHINGLE, SHINGLE_CHARS, list(texts))

    for start, table in zip(starts, done_once(_signed, piece, len(starts), key), strict=True):
        column = table["signature"].combine_chunks()
        blocks.append(column.values.to_numpy().reshape(-1, PERMUTATIONS))
        if progress is not None:
            progress(min(start + BLOCK, len(texts)), len(texts))
    return np.concatenate(blocks)


def _signed(texts: list[str]) -> pa.Table:
    minhash = require("datasketch", "finding near duplicates of texts").MinHash
    made = minhash.bulk([shingles(text) for text in texts], num_perm=PERMUTATIONS, seed=1)
    flat = np.concatenate([m.hashvalues for m in made]).astype(np.uint64)
    return pa.table({"signature": pa.FixedSizeListArray.from_arrays(pa.array(flat), PERMUTATIONS)})


def _candidates(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that agree in a whole band: all of a small bucket, neighbours in sorted order of a large one."""
    n = len(signatures)
    pairs = [np.zeros(0, np.int64)]
    for band in np.split(np.arange(PERMUTATIONS), BANDS):
        for members in _buckets(np.ascontiguousarray(signatures[:, band]).view(np.uint8)):
            steps = len(members) if len(members) <= SMALL_BUCKET else STEPS + 1
            if len(members) > SMALL_BUCKET:
                members = members[np.lexsort(signatures[members].T)]
            for step in range(1, steps):
                x, y = members[:-step], members[step:]
                pairs.append(np.minimum(x, y) * n + np.maximum(x, y))
    keys = np.unique(np.concatenate(pairs))
    return keys // max(n, 1), keys % max(n, 1)


def shingles(text: str) -> set[bytes]:
    """The overlapping pieces of five characters of a text."""
    text = text[:SHINGLE_CHARS]
    return {text[i : i + SHINGLE].encode() for i in range(max(1, len(text) - SHINGLE + 1))}


def jaccard(a: set[bytes], b: set[bytes]) -> float:
    """Share of the pieces of two sets that both have."""
    return len(a & b) / max(1, len(a | b))


def _close(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray, radius: int) -> Pairs:
    width = codes.shape[1]
    wide = np.uint64 if width % 8 == 0 else np.uint8
    left, right = np.ascontiguousarray(codes[rows]).view(wide), np.ascontiguousarray(codes[columns]).view(wide)
    bits = np.zeros((len(rows), len(columns)), np.uint16)
    for part in range(left.shape[1]):
        bits += np.bitwise_count(left[:, part, None] ^ right[None, :, part])
    i, j = np.nonzero(bits <= radius)
    a, b = rows[i], columns[j]
    keep = a < b
    return a[keep], b[keep], bits[i[keep], j[keep]].astype(np.float32)


def _buckets(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Rows with equal keys, for keys that more than one row has."""
    flat = np.ascontiguousarray(keys).view([("", np.void, keys.shape[1])]).ravel()
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for end, count in zip(ends[counts > 1], counts[counts > 1], strict=True):
        yield order[end - count : end]


def _unique(found: list[Pairs]) -> Pairs:
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    a, b, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((b, a))
    a, b, value = a[order].astype(np.int64), b[order].astype(np.int64), value[order].astype(np.float32)
    first = np.ones(len(a), bool)
    first[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return a[first], b[first], value[first]
