"""Queries and documents of a batch as weights of terms, as far as a step looks at them.

`held` is `TrainData.extra` of the trait `texts`: `term_states` [tokens, w] the states of all documents' tokens, those
of row i from `term_starts[i]` on; `terms` [tokens] what stands there, -1 where that is no term; `query_terms` [n, most]
the different terms of each query, -1 as filling; `term_vectors` [vocabulary, w]; `idf` [vocabulary].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tellapart.core.terms import Weighted, beside_own

SCALE, EPSILON = 30.0, 1e-6


def looked_at(
    held: Mapping[str, np.ndarray], rows: np.ndarray, sampled: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """[c] rising numbers of terms: those of some rows and others drawn; and [c] how many terms each stands for."""
    spans = [held["terms"][held["term_starts"][row] : held["term_starts"][row + 1]] for row in rows]
    needed = np.unique(np.concatenate([held["query_terms"][rows].ravel(), *spans]))
    needed = needed[needed >= 0]
    others = np.setdiff1d(np.arange(len(held["idf"])), needed)
    some = np.random.default_rng(seed).permutation(others)[:sampled]
    each = np.concatenate([np.ones(len(needed)), np.full(len(some), len(others) / max(len(some), 1))])
    columns = np.concatenate([needed, some])
    order = np.argsort(columns)
    return columns[order], each[order].astype(np.float32)


def documents(
    held: Mapping[str, np.ndarray], rows: np.ndarray, columns: np.ndarray, map_: Tensor, bias: Tensor
) -> Tensor:
    """[n, c] weights max_i log(1 + relu(h_i W e_t + b)) of the documents of some rows; h is a
    token's state and beside it its own e."""
    place = map_.device
    vectors = torch.from_numpy(np.asarray(held["term_vectors"][columns], np.float32)).to(place)
    spans = [np.arange(held["term_starts"][row], held["term_starts"][row + 1]) for row in rows]
    tokens = np.concatenate(spans)
    beside = beside_own(held["term_states"][tokens], held["terms"][tokens], held["term_vectors"])
    states = torch.from_numpy(beside).to(place)
    logits = (states @ map_) @ vectors.T + bias
    return torch.log1p(torch.stack([span.amax(0) for span in logits.split([len(s) for s in spans])]).relu())


def queries(held: Mapping[str, np.ndarray], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """[n, c] float32 idf of the terms that each query holds; the columns must hold them all."""
    terms = held["query_terms"][rows]
    row, at = np.nonzero(terms >= 0)
    found = np.zeros((len(rows), len(columns)), np.float32)
    found[row, np.searchsorted(columns, terms[row, at])] = held["idf"][terms[row, at]]
    return found


def table(rows: Weighted, columns: np.ndarray) -> np.ndarray:
    """[n, c] float32 of rows all of whose terms are among the columns."""
    found = np.zeros((len(rows), len(columns)), np.float32)
    found[rows.row, np.searchsorted(columns, rows.terms)] = rows.weights
    return found


def ensemble(scores: Sequence[Tensor]) -> Tensor:
    """The teachers' scores [n, m] of the same candidates as one: each row brought to 0..1, their mean times 30."""
    spread = []
    for each in scores:
        least = each.amin(1, keepdim=True)
        spread.append((each - least) / (each.amax(1, keepdim=True) - least + EPSILON))
    return SCALE * torch.stack(spread).mean(0)
