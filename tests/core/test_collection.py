"""Collection: what it keeps, what it refuses, and that nothing is lost on the disk."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.collection import Collection, Side, Sides
from tellapart.core.errors import DataError

TEXTS = st.text(max_size=12)
# The file format cannot hold lone surrogates, and neither can a file name.
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def collections(draw) -> Collection:
    ids = draw(st.lists(IDS, unique=True, max_size=12))
    n = len(ids)
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    return Collection.of({
        "id": pa.array(ids, pa.string()),
        "text": pa.array(draw(st.lists(st.none() | text, min_size=n, max_size=n)), pa.string()),
        "label": pa.array(draw(st.lists(st.none() | st.integers(-3, 3), min_size=n, max_size=n)), pa.int64()),
    })  # fmt: skip


@given(collections())
@settings(max_examples=40, deadline=None)
def test_saved_and_opened_is_the_same(tmp_path_factory, collection: Collection):
    folder = tmp_path_factory.mktemp("saved")
    problems = [("x", "row 3", "no text")]
    again = Collection.open(collection.with_problems(problems).save(folder))
    assert again.table.equals(collection.table)
    assert again.fingerprint == collection.fingerprint
    assert [tuple(row.values()) for row in again.problems.to_pylist()] == problems


@given(collections(), st.data())
@settings(max_examples=60, deadline=None)
def test_selected_items_are_the_ones_asked_for(collection: Collection, data):
    ids = data.draw(st.lists(st.sampled_from(list(collection.ids) or ["none"]), max_size=5, unique=True))
    if not len(collection):
        ids = []
    chosen = collection.select(ids)
    assert list(chosen.ids) == ids
    assert [chosen.item(i) for i in ids] == [collection.item(i) for i in ids]


@given(collections(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_blocks_put_together_are_the_whole(collection: Collection, size: int):
    blocks = list(collection.blocks(size))
    assert [i for b in blocks for i in b.ids] == list(collection.ids)
    assert all(len(b) == size for b in blocks[:-1])


@given(collections())
@settings(max_examples=60, deadline=None)
def test_codes_stand_for_values(collection: Collection):
    codes, distinct = collection.codes("label")
    assert [None if c < 0 else distinct[c] for c in codes] == collection.values("label")
    assert len(set(distinct)) == len(distinct)


@given(collections())
@settings(max_examples=40, deadline=None)
def test_a_change_is_another_collection(collection: Collection):
    before, columns = collection.fingerprint, collection.columns
    more = collection.with_column("group", np.arange(len(collection)), by={"part": "copies", "distance": 4})
    assert collection.fingerprint == before and collection.columns == columns
    assert more.provenance("group") == {"part": "copies", "distance": 4}
    assert more.provenance("text") is None
    if len(collection):
        assert more.fingerprint != before
        assert more.with_column("group", np.arange(len(collection)) + 1).fingerprint != more.fingerprint


def test_provenance_root_and_problems_survive_the_disk_and_a_selection(tmp_path):
    made = Collection.of({"text": ["a", "b"]}, root=tmp_path).with_column("group", [1, 1], by={"part": "p"})
    made = made.with_problems([("c", "c.png", "empty")])
    for again in (Collection.open(made.save(tmp_path / "saved")), made.take([1]), made.select(["00000000"])):
        assert again.root == tmp_path
        assert again.provenance("group") == {"part": "p"}
        assert len(again.problems) == 1


def test_equal_contents_at_two_places_have_one_fingerprint(tmp_path):
    one, other = (Collection.of({"text": ["a", "b"]}, root=tmp_path / name) for name in ("x", "y"))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != Collection.of({"text": ["b", "a"]}).fingerprint
    assert one.fingerprint != Collection.of({"words": ["a", "b"]}).fingerprint


def test_chunks_do_not_change_the_fingerprint():
    whole = Collection(pa.table({"id": ["a", "b", "c"]}))
    cut = Collection(pa.concat_tables([pa.table({"id": ["a"]}), pa.table({"id": ["b", "c"]})]))
    assert whole.fingerprint == cut.fingerprint


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Collection(pa.table({"text": ["a"]})), "needs a column 'id'"),
        (lambda: Collection.of({"id": ["a", "b", "a"]}), "'a' stands more than once"),
        (lambda: Collection.of({"text": ["a"]})["txet"], "did you mean text"),
        (lambda: Collection.of({"text": ["a"]}).item("nobody"), "no item 'nobody'"),
        (lambda: Collection.of({"text": ["a"]}).select(["00000000", "x", "y"]), "2 ids are unknown"),
        (lambda: Collection.of({"text": ["a"]}).with_column("label", [1, 2]), "2 values for 1 items"),
        (lambda: Collection.of({"words": ["a"]}).sides(), "cannot tell what is searched"),
    ],
)
def test_what_cannot_be_is_refused_in_words(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_a_folder_without_a_collection_is_refused_in_words(tmp_path):
    with pytest.raises(DataError, match="no saved collection"):
        Collection.open(tmp_path)


@pytest.mark.parametrize(
    ("columns", "sides"),
    [
        (("anchor", "positive"), Sides(Side("anchor", "text"), Side("positive", "text"))),
        (("image", "text"), Sides(Side("text", "text"), Side("image", "image"))),
        (("image", "text", "target"), Sides(Side("text", "text"), Side("image", "image"), "target")),
        (("image", "label"), Sides(Side("image", "image"), Side("image", "image"), "label")),
        (("text", "label"), Sides(Side("text", "text"), Side("text", "text"), "label")),
    ],
)
def test_sides_are_read_off_the_columns(columns, sides):
    found = Collection.of({name: ["a", "b"] for name in columns}).sides()
    assert found == sides
    assert found.same_space == (columns[-1] == "label")


def test_where_keeps_the_items_of_a_value():
    collection = Collection.of({"text": ["a", "b", "c"], "split": ["train", None, "train"]})
    assert collection.where("split", "train").values("text") == ["a", "c"]
