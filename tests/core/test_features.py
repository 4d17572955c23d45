"""Feature matrices, labels, and class statistics that grow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.errors import DataError
from tellapart.core.features import ClassMoments, labels, matrix, softmax, unit_rows


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_moments_in_pieces_are_those_of_the_whole(data):
    n, d = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-2, 3) + rng.normal() * 5
    y = rng.integers(0, 4, size=n)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    pieces, plain = ClassMoments(), ClassMoments(full=False)
    for rows in np.split(np.arange(n), cuts):
        if len(rows):
            pieces.add(x[rows], *labels(y[rows], len(rows)))
            plain.add(x[rows], *labels(y[rows], len(rows)))
    assert pieces.classes.tolist() == sorted(set(y.tolist())) and pieces.n == n
    scatter = np.zeros((d, d))
    for c, mean, count in zip(pieces.classes, pieces.means, pieces.counts, strict=True):
        mine = x[y == c]
        assert count == len(mine) and np.allclose(mean, mine.mean(axis=0))
        scatter += (mine - mine.mean(axis=0)).T @ (mine - mine.mean(axis=0))
    size = 1e-9 * max(1.0, float((x**2).sum()))
    assert np.allclose(pieces.scatter, scatter, atol=size) and np.allclose(plain.scatter, np.trace(scatter), atol=size)


def test_moments_refuse_words_among_numbers():
    for first, second in (([1, 2], ["a", "b"]), (["a", "b"], [1, 2])):
        moments = ClassMoments()
        moments.add(np.eye(2), *labels(first, 2))
        with pytest.raises(DataError, match="new labels must be"):
            moments.add(np.eye(2), *labels(second, 2))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[1.0, 2.0], [np.nan, 1.0]], "1 items; first is row 1"),
        ([[1.0], [np.inf]], "first is row 1"),
        ([], "not empty"),
        (np.zeros((0, 3)), "not empty"),
        ([1.0, 2.0], "matrix"),
        ([["a", "b"]], "numbers"),
        ([[1.0, 2.0], [3.0]], "numbers"),
        (np.zeros((2, 3)), "but 2 were fitted"),
    ],
)
def test_a_matrix_that_is_none_is_refused(x, words):
    with pytest.raises(DataError, match=words):
        matrix(x, dim=2 if words.startswith("but 2") else None)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1, 2], "3 items"),
        ([[1], [2], [3]], "3 items"),
        (["a", None, "b"], "1 items have no label; first is row 1"),
        ([1.0, float("nan"), 2.0], "no label"),
        (["a", 1, "b"], "mixture"),
        (["a", "a", "a"], "at least 2 classes"),
    ],
)
def test_labels_that_are_none_are_refused(y, words):
    with pytest.raises(DataError, match=words):
        labels(y, 3, least=2)


def test_labels_are_sorted_and_coded():
    classes, codes = labels(np.array(["b", "a", "b"], dtype=object), 3)
    assert classes.tolist() == ["a", "b"] and codes.tolist() == [1, 0, 1]
    assert labels([True, False, True], 3)[0].tolist() == [False, True]


def test_rows_of_length_one_and_probabilities_stay_finite():
    assert np.allclose(np.linalg.norm(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), axis=1), [1, 0])
    p = softmax(np.array([[1e5, 0.0, -1e5], [0.0, 0.0, 0.0]]))
    assert np.allclose(p, [[1, 0, 0], [1 / 3] * 3]) and p.dtype == np.float32
