"""Candidates, links and clusters against what loops say, and what labelled pairs are calibrated on."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.features import unit_rows
from tellapart.engine import links
from tellapart.engine.links import Candidates, Pairs


@pytest.fixture
def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return tuple(unit_rows(rng.normal(size=(n, 5)).astype(np.float32)) for n in (30, 23))


@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_candidates_are_the_nearest_in_order(vectors, index):
    q, z = vectors
    found = links.candidates(q, z, 4, index=index)
    for row, scores in enumerate(q @ z.T):
        assert found.rows[row].tolist() == np.argsort(-scores)[:4].tolist()
        np.testing.assert_allclose(found.scores[row], np.sort(scores)[::-1][:4], atol=1e-5)


def test_in_one_table_a_record_is_no_candidate_of_itself_and_fewer_are_filled_up(vectors):
    q = vectors[0]
    found = links.candidates(q, q, 3, same=True)
    for row, scores in enumerate(q @ q.T):
        scores[row] = -2
        assert found.rows[row].tolist() == np.argsort(-scores)[:3].tolist()
    few = links.candidates(q[:2], q[:2], 3, same=True)
    assert few.rows[:, 0].tolist() == [1, 0] and few.scores[0, 1:].tolist() == [-np.inf] * (few.scores.shape[1] - 1)
    assert few.best_but(0, {1}) == (-1, -np.inf)


def test_links_by_each_rule(vectors):
    q, z = vectors
    sim = q @ z.T
    there, back = links.candidates(q, z, len(z)), links.candidates(z, q, 1)
    pairs = links.nearest(there, 0.7)
    assert [*zip(pairs.a, pairs.b, strict=True)] == [(i, s.argmax()) for i, s in enumerate(sim) if s.max() >= 0.7]
    pairs = links.mutual(there, back)
    expected = [(i, s.argmax()) for i, s in enumerate(sim) if sim[:, s.argmax()].argmax() == i]
    assert [*zip(pairs.a, pairs.b, strict=True)] == expected and 0 < len(expected) < len(z)
    left, greedy = sim.copy(), []
    while (best := left.max()) >= 0.2:
        i, j = np.unravel_index(left.argmax(), left.shape)
        greedy.append((i, j, best))
        left[i], left[:, j] = -2, -2
    pairs = links.one_to_one(there, 0.2)
    assert [*zip(pairs.a, pairs.b, strict=True)] == [(i, j) for i, j, _ in sorted(greedy)]
    assert any(b != sim[a].argmax() for a, b in zip(pairs.a, pairs.b, strict=True)), "nobody had to take the next one"


def test_clusters_are_what_links_join_through_others():
    pairs = Pairs(np.array([4, 0, 1]), np.array([2, 4, 5]), np.ones(3))
    assert links.components(7, pairs).tolist() == [0, 1, 0, 2, 0, 1, 3]
    q = unit_rows(np.array([[1, 0], [1, 0.1], [0, 1], [1, 0.2]], np.float32))
    found = links.within(links.candidates(q, q, 3, same=True), 0.97)
    assert {*zip(found.a.tolist(), found.b.tolist(), strict=True)} == {(0, 1), (0, 3), (1, 3)}


def test_pooled_is_the_mean_of_the_cosines(vectors):
    q, z = vectors
    a, b = links.pooled([3 * q[:20], z[:20]]), links.pooled([q[5:25], z[3:23]])
    np.testing.assert_allclose(a @ b.T, (q[:20] @ q[5:25].T + z[:20] @ z[3:23].T) / 2, atol=1e-6)


def test_calibrated_on_matches_and_the_nearest_that_is_none(vectors):
    q, z = vectors
    found = Candidates(np.array([[2, 1], [0, 3]]), np.zeros((2, 2)))
    a, scores, matches = links.sample({0: {2, 5}, 1: set()}, [(0, 1), (1, 7)], found, q, z)
    assert a.tolist() == [0, 0, 0, 1, 1] and matches.tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(scores, [q[0] @ z[2], q[0] @ z[5], q[0] @ z[1], q[1] @ z[0], q[1] @ z[7]], atol=1e-6)
