"""Scores of features on classes of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.protocol import transferability as protocol


def world(noise):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return 3 * np.eye(6)[y] + noise * rng.normal(size=(90, 6)), y


@pytest.mark.parametrize("score", [protocol.logme, protocol.h_score, protocol.ncc])
def test_what_tells_classes_scores_more_than_what_does_not(score):
    told, blurred, none = (score(*world(noise)) for noise in (0.3, 3.0, 100.0))
    assert told > blurred > none


def test_logme_is_the_log_evidence_of_the_linear_model():
    x, y = world(1.0)
    want = []
    for c in range(3):
        t = (y == c).astype(float)
        logs = [evidence(x, t, a, b) for a in np.geomspace(1e-3, 1e3, 30) for b in np.geomspace(1e-1, 1e3, 30)]
        want.append(max(logs) / len(y))
    assert protocol.logme(x, y) == pytest.approx(np.mean(want), abs=1e-2)


def evidence(x, t, a, b):
    """log N(t; 0, I / b + x x' / a), by the determinant lemma."""
    inner = a * np.eye(x.shape[1]) + b * x.T @ x
    quad = b * t @ t - b**2 * t @ x @ np.linalg.solve(inner, x.T @ t)
    logdet = np.linalg.slogdet(inner)[1] - x.shape[1] * math.log(a) - len(t) * math.log(b)
    return -(len(t) * math.log(2 * math.pi) + logdet + quad) / 2


def test_an_unknown_data_set_is_refused():
    with pytest.raises(DataError, match="wordnet"):
        protocol.run({"part": "tmi", "options": {}}, "openmoji", 0)
