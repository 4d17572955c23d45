"""Hits: sorted, ties by id, filling last."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.hits import Hits

ROW = st.lists(
    st.tuples(st.sampled_from(["", *"abcdefg"]), st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0])), min_size=1, max_size=9
)


@given(ROW, st.none() | st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_sorted_is_by_falling_score_then_id_with_filling_last(row, k):
    ids, scores = np.array([[i for i, _ in row]]), np.array([[s for _, s in row]])
    hits = Hits.sorted(ids, scores, k)
    wanted = sorted(((i, s) for i, s in row if i), key=lambda hit: (-hit[1], hit[0]))[:k]
    assert hits[0] == wanted
    assert (hits.ids == "").sum() == min(k or len(row), len(row)) - len(wanted)
    assert np.isneginf(hits.scores[hits.ids == ""]).all()
    assert hits.scores.dtype == np.float32


@given(ROW, st.randoms())
@settings(max_examples=100, deadline=None)
def test_order_of_candidates_does_not_matter(row, random):
    other = list(row)
    random.shuffle(other)
    one, two = (Hits.sorted(np.array([[i for i, _ in r]]), np.array([[s for _, s in r]])) for r in (row, other))
    assert np.array_equal(one.ids, two.ids) and np.array_equal(one.scores, two.scores)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one"):
        Hits(np.array([["a", "b"]]), np.array([[1.0]]))


def test_a_score_of_minus_infinity_is_no_hit():
    hits = Hits.sorted(np.array([["a", "b"]]), np.array([[-np.inf, 1.0]]))
    assert hits[0] == [("b", 1.0)]
