"""Histograms of scores over training, and what they say in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import small_run
from tellapart.engine.scores import BINS, HIGH, LOW, looks, score_counts, warnings


def counts(**shares):
    """Scores by kind as counts."""
    return {k: np.histogram(v, BINS, (LOW, HIGH))[0].tolist() for k, v in shares.items()}


def test_counts_are_those_of_all_pairs_one_by_one():
    run = small_run(n=30)
    q, k = (run.encode_all(side) for side in ("query", "document"))
    keys = run.data.keys
    expected: dict = {"positive": [], "negative": []}
    for i in range(30):
        for j in range(30):
            if keys.target[i] == keys.target[j]:
                expected["positive"].append(float(q[i] @ k[j]))
            elif keys.group[i] != keys.group[j]:
                expected["negative"].append(float(q[i] @ k[j]))
    found = score_counts(run)
    assert found.pop("step") == 0
    for kind, values in expected.items():
        assert sum(found[kind]) == len(values)
        assert np.abs(np.subtract(found[kind], counts(a=values)["a"])).sum() <= 4, "but for rounding at an edge"


def test_looking_changes_neither_the_run_nor_its_random_numbers():
    run = small_run()
    run.towers.train()
    before, state = torch.get_rng_state(), {k: x.clone() for k, x in run.towers.state_dict().items()}
    score_counts(run)
    assert torch.equal(torch.get_rng_state(), before) and run.towers.training
    assert all(torch.equal(x, state[k]) for k, x in run.towers.state_dict().items())


@pytest.mark.parametrize(("steps", "expected"), [(0, set()), (1, set()), (3, {1, 2}), (100, {25, 50, 75})])
def test_looks_are_spread_over_the_run(steps, expected):
    assert looks(steps) == expected


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"positive": [0.99] * 9, "negative": [0.95] * 90}, "have collapsed"),
        ({"positive": [0.1] * 9, "negative": [0.1] * 90}, "50% of the cases only"),
        ({"positive": [0.5] * 9, "negative": [-0.1] * 95 + [0.8] * 5}, "5.0% of the negatives score above half"),
        ({"positive": [0.5] * 9, "negative": [-0.1] * 99}, ""),
        ({"positive": [], "negative": [0.99] * 99}, ""),
    ],
)
def test_what_is_odd_is_said_once(scores, words):
    said = warnings(counts(**scores))
    assert len(said) == bool(words) and words in "".join(said)
