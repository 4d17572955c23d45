"""What cannot be learnt from or measured is refused before any work, and the message says what to give."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import curate, read, split
from tellapart.data.usable import check_pairs, check_parts

from .test_readers import save


def of(**columns):
    return Collection.of(columns)


def test_pictures_without_captions_say_how_to_give_some(tmp_path):
    save(tmp_path, "IMG_0001.png", "IMG_0002.png")
    with pytest.raises(DataError, match=r"cannot tell what is searched .* \(such as IMG_0001.png\).*metadata.csv"):
        check_pairs(read(tmp_path))


@pytest.mark.parametrize(
    ("labels", "words"),
    [(["a"] * 4, "of 4 items all have the label 'a', so no .* give items of at least two.*tellapart embed"),
     ([None] * 4, "of 4 items none has a label"),
     (["a", "b", "c", "d"], r"each label stands on one item only \(4 for 4 items\)")],
)  # fmt: skip
def test_labels_that_tell_nothing_apart(labels, words):
    with pytest.raises(DataError, match=words):
        check_pairs(of(text=list("wxyz"), label=pa.array(labels, pa.string())))


def test_what_can_be_used_passes():
    check_pairs(of(text=list("wxyz"), label=["a", "a", "b", None]))
    check_pairs(of(anchor=["a"], positive=["b"]))
    parts = ["train", "train", "test", "test"]
    check_parts(of(text=list("wxyz"), label=["a", "a", "b", "b"], split=parts))
    check_parts(of(anchor=list("wxyz"), positive=list("wxyz"), target=["a", "b", "c", "d"], split=parts))
    check_parts(of(anchor=list("wxyz"), positive=list("wxyz"), split=parts))


@pytest.mark.parametrize(
    ("labels", "part"),
    [(["a", "a", "b", "c"], "test"), (["a", "b", "c", "c"], "train"), (["a", "a", None, None], "test")],
)
def test_a_part_in_which_nothing_can_be_found(labels, part):
    made = of(text=list("wxyz"), label=pa.array(labels, pa.string()), split=["train", "train", "test", "test"])
    with pytest.raises(DataError, match=f"the part {part} of the split holds no two items of one label, so nothing"):
        check_parts(made)


def test_pairs_whose_targets_are_all_missing_in_a_part():
    made = of(anchor=["a", "b"], positive=["x", "y"], target=["t", None], split=["train", "test"])
    with pytest.raises(DataError, match="the part test of the split holds no item with one target"):
        check_parts(made)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [([("a question of some length", "an answer of some length")] * 9, "Most repeat another one: .* there are 1"),
     ([("the one question", f"answer {'abcdefghi'[i] * 9}") for i in range(9)], "They ask 1 different queries"),
     ([(f"question {i}", f"answer {'abcdefghi'[i] * 9}") for i in range(2)], "need at least 3. Give more items"),
     ([(f"question {i}", f"answer {'abcdefghi'[i] * 9}") for i in range(4)], "validation empty: .* about 10 at least")],
)  # fmt: skip
def test_too_few_items_or_too_many_alike(pairs, words):
    anchors, positives = zip(*pairs, strict=True)
    with pytest.raises(DataError, match=words):
        split(curate(of(anchor=list(anchors), positive=list(positives))), seed=0)
