"""What a model gets right of labels and of pairs, on worlds in which that is known."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.outcomes import outcomes


def items(n=120, **columns):
    return Collection.of({"id": [f"i{i:03d}" for i in range(n)], "anchor": ["a"] * n, "positive": ["b"] * n, **columns})


def test_labels_are_told_from_other_items():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    z = np.eye(3)[y] + 0.2 * rng.normal(size=(120, 3))
    z[:6] = np.eye(3)[(y[:6] + 1) % 3]
    found = outcomes({"k": z}, items(label=[f"kind {c}" for c in y]), seed=0)
    assert not found.right[:6].any() and found.right[6:].mean() > 0.9
    assert found.said[0] == "kind 1" and found.truth[0] == "kind 0" and "label told" in found.asked


def test_duplicates_do_not_answer_for_each_other():
    z = np.repeat(np.random.default_rng(0).normal(size=(60, 300)), 2, axis=0)
    y = np.repeat(np.random.default_rng(1).integers(0, 2, 60), 2)
    held = items(label=[str(c) for c in y], group=np.arange(120) // 2)
    assert 0.3 < outcomes({"k": z}, held, seed=0).right.mean() < 0.7
    apart = outcomes({"k": z}, items(label=[str(c) for c in y]), seed=0)
    assert apart.right.mean() > 0.9


def test_rare_labels_are_left_out_and_most_is_kept():
    label = ["a"] * 60 + ["b"] * 57 + ["c"] * 3
    z = np.random.default_rng(0).normal(size=(120, 4))
    assert outcomes({"document": z}, items(label=label), seed=0).rows.max() < 117
    assert len(outcomes({"document": z}, items(label=label), seed=0, most=50).rows) == 50


def test_pairs_are_found_among_the_test_items():
    z = np.eye(120)
    q = z.copy()
    q[[0, 3]] = q[[3, 0]]
    split = ["test" if i % 3 == 0 else "train" for i in range(120)]
    found = outcomes({"q": q, "k": z}, items(split=split), seed=0, k=1)
    assert found.rows.tolist() == list(range(0, 120, 3))
    assert found.right.tolist() == [0.0, 0.0] + [1.0] * 38 and found.truth is None


def test_equal_documents_are_no_wrong_answers():
    z = np.repeat(np.eye(40), 3, axis=0)
    found = outcomes({"q": z, "k": z}, items(group=np.arange(120) // 3), seed=0, k=1)
    assert found.right.all()


@pytest.mark.parametrize(
    ("vectors", "columns", "by", "words"),
    [
        ({"k": np.eye(120)}, {}, "", "neither labels"),
        ({"k": np.eye(120)}, {}, "colour", "no column 'colour'"),
        ({"k": np.eye(119)}, {}, "", "119 vectors"),
        ({"k": np.eye(120)}, {"colour": ["red"] * 120}, "colour", "fewer than two values"),
    ],
)
def test_what_cannot_be_asked_is_refused(vectors, columns, by, words):
    with pytest.raises(DataError, match=words):
        outcomes(vectors, items(**columns), seed=0, by=by)
