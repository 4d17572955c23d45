"""The pairs nearest to the bar of the miner, on either side."""

from __future__ import annotations

import numpy as np

from tellapart.engine.borderline import borderline
from tellapart.engine.mine import mine

K = 40


def angles(*degrees):
    a = np.radians(np.asarray(degrees, float))
    return np.stack([np.cos(a), np.sin(a)], 1).astype(np.float32)


def mined(q, k, positives, margin=0.05, depth=K):
    return mine(
        q, k, query_ids=None, document_ids=None, query_groups=None, document_groups=None, positives=positives,
        depth=depth, keep=5, margin=margin,
    )  # fmt: skip


def test_the_nearest_to_the_bar_of_each_query_comes_first():
    """Query 0 at 0 degrees has its positive at 40; the bar is cos 40 x 0.95 = 0.7277, which is 43.3 degrees."""
    q, k = angles(0, 180), angles(40, 170, 20, 44, 60, 43, 120, 150)
    found = borderline(mined(q, k, np.array([0, 1])), (["p", "q"], list("abcdefgh")), 0.05)
    assert [(p["query"], p["right"], p["wrong"]) for p in found] == [("p", "a", "f"), ("q", "b", "h")]
    np.testing.assert_allclose([found[0]["right_score"], found[0]["wrong_score"]], np.cos(np.radians([40, 43])), 1e-5)
    assert borderline(mined(q, k, np.array([0, 1])), (["p", "q"], list("abcdefgh")), 0.05, most=1) == found[:1]


def test_against_all_pairs_one_by_one():
    rng = np.random.default_rng(0)
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, K, 6)).astype(np.float32))
    found = borderline(mined(q, k, np.arange(K), margin=0.2), (range(K), range(K)), 0.2, most=7)
    gaps = []
    for i in range(K):
        own = float(q[i] @ k[i])
        others = [(abs(float(q[i] @ k[j]) - (own - abs(own) * 0.2)), i, j) for j in range(K) if j != i]
        gaps.append(min(others))
    assert [(int(p["query"]), int(p["wrong"])) for p in found] == [(i, j) for _, i, j in sorted(gaps)[:7]]


def test_queries_whose_positive_is_no_candidate_do_not_count():
    q, k = angles(0, 5), angles(90, 8, 10, 20)
    found = borderline(mined(q, k, np.array([0, 1]), depth=3), (["p", "q"], list("abcd")), 0.05)
    assert {p["query"] for p in found} == {"q"}
