"""Pairs of items that are close: perceptual hashes by Hamming distance, texts by shared shingles, vectors by cosine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tellapart.core.needs import installed, require
from tellapart.data.problems import Progress

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]

ALL_PAIRS = 20_000
BLOCK = 1024
PERMUTATIONS = 64
BANDS, ROWS_A_BAND = 16, 4
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


def cosine_pairs(z: np.ndarray, threshold: float, progress: Progress | None = None) -> Pairs:
    """All pairs of rows with a cosine of at least `threshold`: (a, b, cosine) with a < b.

    On FAISS where it is installed, otherwise block by block in numpy; rows without length are close to nothing.
    """
    z = np.ascontiguousarray(z, dtype=np.float32)
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    z = np.divide(z, lengths, out=np.zeros_like(z), where=lengths > 0)
    found: list[Pairs] = []
    index = None
    if installed("faiss"):
        index = require("faiss", "searching neighbours").IndexFlatIP(z.shape[1])
        index.add(z)
    for start in range(0, len(z), BLOCK):
        block = z[start : start + BLOCK]
        if index is not None:
            limits, scores, b = index.range_search(block, float(np.nextafter(np.float32(threshold), np.float32(-1))))
            a = np.repeat(np.arange(len(block)), np.diff(limits.astype(np.int64))) + start
        else:
            sims = block @ z[start:].T
            rows, columns = np.nonzero(sims >= threshold)
            a, b, scores = rows + start, columns + start, sims[rows, columns]
        keep = a < b
        found.append((a[keep], b[keep].astype(np.int64), np.minimum(scores[keep], 1.0)))
        if progress is not None:
            progress(min(start + BLOCK, len(z)), len(z), "looking for near vectors")
    return _unique(found)


def text_pairs(texts: Sequence[str], threshold: float, progress: Progress | None = None) -> Pairs:
    """Pairs of texts whose sets of five-letter shingles overlap: (a, b, Jaccard similarity) with a < b.

    Candidates come from datasketch's MinHash LSH (seeded; finds 99.9% at 0.8), and each is checked exactly. Texts under
    24 characters are too short for it and are left to the exact hash.
    """
    sketch = require("datasketch", "finding near duplicates of texts")
    rows = [i for i, text in enumerate(texts) if len(text) >= SHORTEST]
    index = sketch.MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS_A_BAND))
    a: list[int] = []
    b: list[int] = []
    scores: list[float] = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        sets = [shingles(texts[i]) for i in block]
        for i, made, own in zip(block, sketch.MinHash.bulk(sets, num_perm=PERMUTATIONS, seed=1), sets, strict=True):
            for j in sorted(index.query(made)):
                score = jaccard(own, shingles(texts[j]))
                if score >= threshold:
                    a.append(j)
                    b.append(i)
                    scores.append(score)
            index.insert(i, made, check_duplication=False)
        if progress is not None:
            progress(min(start + BLOCK, len(rows)), len(rows), "looking for near texts")
    return np.asarray(a, np.int64), np.asarray(b, np.int64), np.asarray(scores, np.float32)


def shingles(text: str) -> set[bytes]:
    """The overlapping pieces of five characters of a text."""
    text = text[:SHINGLE_CHARS]
    return {text[i : i + SHINGLE].encode() for i in range(max(1, len(text) - SHINGLE + 1))}


def jaccard(a: set[bytes], b: set[bytes]) -> float:
    """Share of the pieces of two sets that both have."""
    return len(a & b) / max(1, len(a | b))


def distances(codes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bits that differ between row a[i] and row b[i]."""
    return np.bitwise_count(codes[a] ^ codes[b]).sum(axis=-1).astype(np.int64)


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
