"""Numbers as labels: equal parts, equal scores together, and nothing where there is a label or a pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.provenance import about
from tellapart.data.sources import read
from tellapart.data.tenths import with_tenths
from tellapart.data.usable import check_pairs


def test_scores_are_cut_into_ten_parts_of_equal_size_in_order():
    scores = np.random.default_rng(0).normal(size=200).round(3)
    made = with_tenths(Collection.of({"text": [str(i) for i in range(200)], "score": scores}))
    labels = np.asarray(made.values("label"))
    parts = sorted((scores[labels == name].min(), scores[labels == name].max(), name) for name in set(labels))
    assert len(parts) == 10 and {int((labels == name).sum()) for _, _, name in parts} <= {19, 20, 21}
    assert all(left[1] < right[0] for left, right in itertools.pairwise(parts))
    assert all(name == f"{low:.6g} to {high:.6g}" for low, high, name in parts)
    assert made.provenance("label") == {"part": "tenths of score"} and "10 parts" in about(made)["notes"][0]
    check_pairs(made)


def test_equal_scores_stay_together_and_missing_ones_have_no_label():
    made = with_tenths(Collection.of({"text": list("abcdefg"), "score": [3.0, 1.0, None, 3.0, 2.5, 1.0, None]}))
    assert made.values("label") == ["3", "1", None, "3", "2.5", "1", None]
    steep = with_tenths(Collection.of({"image": [str(i) for i in range(60)], "score": [0.0] * 45 + list(range(1, 16))}))
    labels = steep.values("label")
    assert len(set(labels[:45])) == 1 and 2 < len(set(labels)) < 10


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["a", "b"], "score": [1.0, 1.0]},
        {"text": ["a", "b"], "score": [1.0, 2.0], "label": ["x", "y"]},
        {"anchor": ["a", "b"], "positive": ["c", "d"], "score": [1.0, 2.0]},
        {"image": ["a", "b"], "text": ["c", "d"], "score": [1.0, 2.0]},
        {"text": ["a", "b"]},
    ],
)
def test_what_has_pairs_labels_or_no_two_scores_stays_as_it_is(columns):
    collection = Collection.of(columns)
    assert with_tenths(collection) is collection


def test_a_table_of_texts_with_a_number_is_read_with_labels(tmp_path):
    file = tmp_path / "ages.csv"
    file.write_text("text,age\n" + "".join(f"item {i},{i % 30}\n" for i in range(90)))
    made = read(file, columns={"score": "age"})
    assert made.sides().target == "label" and len(set(made.values("label"))) == 10
    with pytest.raises(DataError, match="cannot tell what is searched"):
        check_pairs(read(file))
