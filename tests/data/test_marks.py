"""What somebody said of two items changes who is who, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import curate, split
from tellapart.data.marks import Mark, add_mark, marked, read_marks
from tellapart.data.provenance import about

N = 12


def pairs(**columns):
    ids = [f"i{i:02d}" for i in range(N)]
    words = {"anchor": [f"question {i}" for i in range(N)], "positive": [f"answer {i}" for i in range(N)]}
    return Collection.of({"id": ids, **words, "group": list(range(N)), "near": list(range(N)), **columns})


def linked(distances):
    """Rows 0, 1, … in one group, each linked to the row before it."""
    group = [0] * len(distances) + list(range(1, N - len(distances) + 1))
    links = [None] + [{"to": f"i{i:02d}", "rule": "r", "distance": d} for i, d in enumerate(distances[1:])]
    links += [None] * (N - len(distances))
    return pairs(group=group, near=group, link=links)


def ids(collection, column):
    """The sets of ids that have one value."""
    found: dict = {}
    for id_, value in zip(collection.ids, collection.values(column), strict=True):
        found.setdefault(value, []).append(str(id_))
    return sorted(v for v in found.values() if len(v) > 1)


def test_the_same_are_one_group_and_positive_to_each_other():
    made = marked(pairs(), [Mark("i03", "i07", "same"), Mark("i07", "i09", "same")])
    for column in ("group", "near", "target"):
        assert ids(made, column) == [["i03", "i07", "i09"]]
    assert made.sides().target == "target"
    assert "2 pairs were marked as the same and 0 as different, and count as that" in about(made)["notes"]


def test_targets_that_are_there_are_united():
    made = marked(pairs(target=["x", "x", *"abcdefghij"]), [Mark("i01", "i02", "same")])
    assert ids(made, "target") == [["i00", "i01", "i02"]] and ids(made, "group") == [["i01", "i02"]]


def test_a_missing_target_stays_its_own():
    made = marked(pairs(target=[None, None, "x", *[None] * 9]), [Mark("i01", "i02", "same")])
    assert ids(made, "target") == [["i01", "i02"]]


def test_a_label_says_itself_what_is_positive():
    labelled = Collection.of({"id": ["a", "b", "c"], "text": ["x", "y", "z"], "label": ["m", "n", "n"],
                              "group": [0, 1, 2], "near": [0, 1, 2]})  # fmt: skip
    made = marked(labelled, [Mark("a", "b", "same")])
    assert ids(made, "group") == [["a", "b"]] and made.values("label") == ["m", "n", "n"]


def test_different_cuts_the_longest_step_between_them():
    made = marked(linked([0.0, 0.1, 0.3, 0.2]), [Mark("i00", "i03", "different")])
    assert ids(made, "group") == [["i00", "i01"], ["i02", "i03"]]
    assert ids(made, "near") == [["i00", "i01", "i02", "i03"]]


def test_different_without_links_takes_one_out():
    made = marked(
        pairs(group=[0, 0, 0, *range(1, 10)], near=[0, 0, 0, *range(1, 10)]), [Mark("i02", "i00", "different")]
    )
    assert ids(made, "group") == [["i00", "i01"]]


def test_marks_that_contradict_each_other_are_refused():
    marks = [Mark("i00", "i01", "same"), Mark("i01", "i02", "same"), Mark("i00", "i02", "different")]
    with pytest.raises(DataError, match="'i00' and 'i02' are marked as different, and by other marks"):
        marked(pairs(), marks)


def test_marks_of_unknown_items_do_nothing():
    made = pairs()
    assert marked(made, [Mark("i00", "gone", "same")]) is made


@given(
    st.lists(
        st.tuples(st.integers(0, N - 1), st.integers(0, N - 1), st.sampled_from(["same", "different"])).filter(
            lambda m: m[0] != m[1]
        ),
        max_size=8,
    )
)
def test_every_mark_holds_afterwards(said):
    marks = [Mark(f"i{a:02d}", f"i{b:02d}", w) for a, b, w in {frozenset(m[:2]): m for m in said}.values()]
    try:
        made = marked(linked([0.0, 0.1, 0.1, 0.2, 0.05]), marks)
    except DataError:
        assert {m.said for m in marks} == {"same", "different"}
        return
    group = dict(zip(made.ids.tolist(), made.values("group"), strict=True))
    assert all((group[m.a] == group[m.b]) == (m.said == "same") for m in marks)


def test_marks_stay_through_curation_and_split_on_one_side():
    words = [f"the {w} of a {v}" for w in ("colour", "weight", "price", "age") for v in ("cat", "house", "tree", "car")]
    given_ = Collection.of(
        {"id": [f"i{i}" for i in range(16)], "anchor": words, "positive": [w.upper() for w in words]}
    )
    made = split(marked(curate(given_), [Mark("i1", "i14", "same")]), seed=0)
    sides = dict(zip(made.ids.tolist(), made.values("split"), strict=True))
    assert sides["i1"] == sides["i14"]
    assert made.provenance("group")["part"] == "marks"


def test_the_last_word_counts_and_can_be_taken_back(tmp_path):
    file = tmp_path / "deep" / "marks.jsonl"
    assert read_marks(file, missing_ok=True) == []
    with pytest.raises(DataError, match="there is no file of marks"):
        read_marks(file)
    add_mark(file, Mark("a", "b", "same"))
    add_mark(file, Mark("ä", "b", "different"))
    assert add_mark(file, Mark("b", "a", "different")) == read_marks(file) == [
        Mark("b", "a", "different"), Mark("ä", "b", "different"),
    ]  # fmt: skip
    assert add_mark(file, Mark("a", "b", "")) == read_marks(file) == [Mark("ä", "b", "different")]


@pytest.mark.parametrize(
    "line",
    ["x", "[]", "{}", '{"a": "x", "b": "x", "said": "same"}', '{"a": 1, "b": "x", "said": "same"}',
     '{"a": "y", "b": "x", "said": "alike"}', '{"a": "", "b": "x", "said": "same"}'],
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path, line):
    file = tmp_path / "marks.jsonl"
    file.write_text('{"a": "x", "b": "y", "said": "same"}\n' + line)
    with pytest.raises(DataError, match="line 2: a mark is"):
        read_marks(file)


def test_what_is_no_mark_or_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(DataError, match="of two different items"):
        add_mark(tmp_path / "m.jsonl", Mark("a", "a", "same"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        add_mark(tmp_path / "file" / "m.jsonl", Mark("a", "b", "same"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read_marks(tmp_path / "bytes")
