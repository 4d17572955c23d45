"""Texts as weights of a few of many terms: how rare a term is, BM25, and documents from the states of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

K1, B = 1.2, 0.75
HELD, OTHERS = 2000, 0.2
LEAST = 1e-6


@dataclass(frozen=True)
class Weighted:
    """Rows of weights, those of row i from `starts[i]` on: terms int32, rising within a row, and weights float32."""

    starts: np.ndarray
    terms: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @staticmethod
    def of(dense: np.ndarray) -> Weighted:
        """The positive numbers of a table [n, terms]."""
        rows, terms = np.nonzero(dense > 0)
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
        return Weighted(starts.astype(np.int64), terms.astype(np.int32), dense[rows, terms].astype(np.float32))

    @staticmethod
    def joined(pieces: list[Weighted]) -> Weighted:
        """Several, one after the other."""
        ends = np.cumsum([0, *(piece.starts[-1] for piece in pieces)])
        starts = [piece.starts[1:] + end for piece, end in zip(pieces, ends, strict=False)]
        empty = (np.zeros(0, np.int32), np.zeros(0, np.float32))
        terms = np.concatenate([empty[0], *(p.terms for p in pieces)])
        weights = np.concatenate([empty[1], *(p.weights for p in pieces)])
        return Weighted(np.concatenate([np.zeros(1, np.int64), *starts]).astype(np.int64), terms, weights)

    @property
    def row(self) -> np.ndarray:
        """[numbers] the row of each."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, rows: np.ndarray) -> Weighted:
        """The rows at these places."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Weighted(starts, self.terms[at], self.weights[at])


def counted(starts: np.ndarray, terms: np.ndarray, vocabulary: int) -> Weighted:
    """How often each term stands in each row of a list of terms, those of row i from `starts[i]` on; -1 is none."""
    row = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    known = terms >= 0
    cell, often = np.unique(row[known] * vocabulary + terms[known], return_counts=True)
    at = np.concatenate([[0], np.cumsum(np.bincount(cell // vocabulary, minlength=len(starts) - 1))])
    return Weighted(at.astype(np.int64), (cell % vocabulary).astype(np.int32), often.astype(np.float32))


def rarity(counts: Weighted, vocabulary: int) -> np.ndarray:
    """[vocabulary] float32 idf(t) = log(1 + (n - n_t + 1/2) / (n_t + 1/2)) of n rows, n_t of which hold t."""
    holding = np.bincount(counts.terms, minlength=vocabulary)
    return np.log1p((len(counts) - holding + 0.5) / (holding + 0.5)).astype(np.float32)


def bm25(counts: Weighted, *, k1: float = K1, b: float = B) -> Weighted:
    """What BM25 gives a term of a row beside its idf: c (k1 + 1) / (c + k1 (1 - b + b length / mean length))."""
    length = np.bincount(counts.row, counts.weights, minlength=len(counts))
    norm = k1 * (1 - b + b * length / max(length.mean(), LEAST))
    weights = counts.weights * (k1 + 1) / (counts.weights + norm[counts.row])
    return Weighted(counts.starts, counts.terms, weights.astype(np.float32))


def beside_own(states: np.ndarray, terms: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """[tokens, 2 w] float32: each token's state [tokens, w], and beside it its term's vector, root mean square 1.

    The last states of an encoder of whole texts say little of the words that stand there; this skip connection does.

    Args:
        terms: [tokens] numbers of terms; -1, no term, has zeros.
        vectors: [vocabulary, w].
    """
    own = np.where(terms[:, None] >= 0, vectors[np.maximum(terms, 0)], 0).astype(np.float32)
    length = np.linalg.norm(own, axis=1, keepdims=True)
    own *= vectors.shape[1] ** 0.5 / np.maximum(length, LEAST)
    return np.concatenate([states.astype(np.float32), own], 1)


def naming_map(states: np.ndarray, terms: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """A linear map after which each token's state names the token: where learning to weigh terms begins.

    Formula: W = (HᵀH + r)⁻¹ Hᵀ E[terms] (EᵀE + r')⁻¹, the least squares of H W Eᵀ against one term a row, scaled and
    shifted so that a token's own term has 2 on the average, and one other term above 0 at every fifth token.

    Args:
        states: [n, s] H.
        terms: [n] numbers of the terms that stand there.
        vectors: [vocabulary, w] E.

    Returns:
        [s, w] float32 for `states @ map @ vectors.T + shift`, and the shift.
    """
    h, e = np.asarray(states, np.float64), np.asarray(vectors, np.float64)

    def inverse(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.linalg.inv(x + 1e-3 * np.trace(x) / len(x) * np.eye(len(x)) + LEAST * np.eye(len(x)))
        return found

    made = inverse(h.T @ h) @ (h.T @ e[terms]) @ inverse(e.T @ e)
    some = np.linspace(0, len(h) - 1, min(len(h), HELD)).astype(np.int64)
    logits = h[some] @ made @ e.T
    own = logits[np.arange(len(some)), terms[some]].mean()
    others = logits.copy()
    others[np.arange(len(some)), terms[some]] = -np.inf
    passing = min(max(round(OTHERS * len(some)), 1), others.size - 1)
    floor = float(np.partition(others, others.size - passing, axis=None)[others.size - passing])
    scale = 2 / max(own - floor, 0.1 * abs(own), LEAST)
    return (made * scale).astype(np.float32), float(-floor * scale)


def weighed(states: np.ndarray, map_: np.ndarray, vectors: np.ndarray, bias: float) -> np.ndarray:
    """[vocabulary] float32 of one document: max over its tokens of log(1 + relu(h W Eᵀ + b)); states [tokens, s]."""
    logits = states.astype(np.float32) @ map_ @ vectors.T + bias
    best: np.ndarray = np.log1p(np.maximum(logits.max(0), 0))
    return best.astype(np.float32)
