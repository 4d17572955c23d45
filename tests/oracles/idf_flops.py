"""IDF-aware sparse training, written out with loops; FLOPS and the pooling also by sentence-transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tellapart.contract.strategy import text_run

CASES: list[dict[str, Any]] = [
    {},
    {"taught": 0.0, "terms": 5, "steering": 0.5, "penalty": 2.0},
    {"taught": 0.4, "penalty": 0.3},
]
BATCH = np.asarray([3, 8, 9, 14, 22, 31])


def spans(held: dict[str, np.ndarray]) -> list[list[int]]:
    return [list(range(a, b)) for a, b in zip(held["term_starts"][:-1], held["term_starts"][1:], strict=True)]


def state(held: dict[str, np.ndarray], token: int) -> np.ndarray:
    """The state of a token and the vector of its term, root mean square 1."""
    term, vectors = int(held["terms"][token]), held["term_vectors"].astype(np.float64)
    own = np.zeros(vectors.shape[1])
    if term >= 0:
        own = vectors[term] / math.sqrt(sum(x * x for x in vectors[term]) / len(own))
    return np.concatenate([held["term_states"][token].astype(np.float64), own])


def weights(held: dict[str, np.ndarray], head: np.ndarray, bias: float, row: int) -> np.ndarray:
    """[vocabulary] max over tokens of log(1 + relu(h W e + b))."""
    made = np.zeros(len(held["idf"]))
    for token in spans(held)[row]:
        h = state(held, token)
        for term, vector in enumerate(held["term_vectors"].astype(np.float64)):
            made[term] = max(made[term], math.log(1 + max(0.0, float(h @ head @ vector) + bias)))
    return made


def bm25(held: dict[str, np.ndarray]) -> np.ndarray:
    """[n, vocabulary] without the idf."""
    rows = [[int(held["terms"][t]) for t in span if held["terms"][t] >= 0] for span in spans(held)]
    mean = sum(map(len, rows)) / len(rows)
    made = np.zeros((len(rows), len(held["idf"])))
    for row, terms in enumerate(rows):
        for term in set(terms):
            often = terms.count(term)
            made[row, term] = often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(terms) / mean))
    return made


def spread(scores: list[float]) -> list[float]:
    return [(x - min(scores)) / (max(scores) - min(scores) + 1e-6) for x in scores]


def softmax(scores: list[float]) -> list[float]:
    most = max(scores)
    powers = [math.exp(x - most) for x in scores]
    return [x / sum(powers) for x in powers]


def expected(run: Any, head: np.ndarray, bias: float, options: dict[str, Any]) -> tuple[float, float, float]:
    """(loss over terms, penalty before its weight, terms a document) of the batch."""
    held, taught = run.data.extra, options.get("taught", 1.0)
    d = [weights(held, head, bias, row) for row in BATCH]
    words, idf = bm25(held), held["idf"].astype(np.float64)
    q_dense, k_dense = (x.numpy().astype(np.float64) for x in run.data.guide)
    group, total = run.data.keys.group.numpy(), 0.0
    for i, row in enumerate(BATCH):
        query = sorted({int(t) for t in held["query_terms"][row] if t >= 0})
        s = [sum(idf[t] * doc[t] for t in query) for doc in d]
        sparse = [sum(idf[t] * words[other, t] for t in query) for other in BATCH]
        dense = [float(q_dense[row] @ k_dense[other]) for other in BATCH]
        teacher = softmax([30 * (a + b) / 2 for a, b in zip(spread(sparse), spread(dense), strict=True)])
        student = softmax(s)
        total += taught * sum(p * math.log(p / r) for p, r in zip(teacher, student, strict=True) if p > 0)
        kept = [j for j, other in enumerate(BATCH) if j == i or group[other] != group[row]]
        powers = sum(math.exp(s[j]) for j in kept)
        total -= (1 - taught) * math.log(math.exp(s[i]) / powers)
    flops = sum((sum(doc[t] for doc in d) / len(d)) ** 2 for t in range(len(idf)))
    return total / len(BATCH), flops, sum((doc > 0).sum() for doc in d) / len(d)


def check(build: Callable[..., Any], options: dict[str, Any]) -> None:
    """The losses of a step and how the penalty is steered after it; all terms are looked at."""
    run = text_run()
    part = build(**options)
    part.begin(run)
    head, bias = part.map.detach().numpy().astype(np.float64), float(part.bias.detach())
    losses = part.step(run, BATCH)
    total, flops, terms = expected(run, head, bias, options)
    start = options.get("penalty", 0.01)
    assert abs(losses["terms"].item() - total) < 1e-3, "the loss over terms is another"
    assert abs(losses["penalty"].item() - start * flops) < 1e-3 * max(1, start * flops), "the penalty is another"
    part.after(run)
    ratio = min(2.0, max(0.5, terms / options.get("terms", 128)))
    steered = start * ratio ** options.get("steering", 0.2)
    assert abs(float(part.weight) - steered) < 1e-4 * steered, "the penalty is steered otherwise"


def check_library(build: Callable[..., Any]) -> None:
    """sentence-transformers: the same sparse vectors of the same logits, and the same FLOPS of them."""
    from sentence_transformers.sparse_encoder.losses import FlopsLoss
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    run = text_run()
    part = build(penalty=1.0)
    part.begin(run)
    held, pieces = run.data.extra, spans(run.data.extra)
    longest = max(map(len, (pieces[row] for row in BATCH)))
    mask = torch.tensor([[n < len(pieces[row]) for n in range(longest)] for row in BATCH])
    states = torch.zeros(len(BATCH), longest, part.map.shape[0])
    for at, row in enumerate(BATCH):
        states[at, : len(pieces[row])] = torch.from_numpy(np.stack([state(held, t) for t in pieces[row]])).float()
    logits = states @ part.map.detach() @ torch.from_numpy(held["term_vectors"]).T + part.bias.detach()
    features = {"token_embeddings": logits, "attention_mask": mask.long()}
    theirs = SpladePooling().eval()(features)["sentence_embedding"]
    theirs = theirs.to_dense() if theirs.is_sparse else theirs
    ours = np.stack([weights(held, part.map.detach().numpy(), float(part.bias.detach()), row) for row in BATCH])
    assert np.abs(ours - theirs.numpy()).max() < 1e-4, "sentence-transformers encodes the same logits otherwise"
    flops = FlopsLoss(model=torch.nn.Identity()).compute_loss_from_embeddings(theirs)
    assert torch.allclose(part.step(run, BATCH)["penalty"], flops, rtol=1e-4), "FLOPS is another"
