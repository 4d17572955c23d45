"""What was said of findings becomes columns, and what reads the folder goes by it."""

from __future__ import annotations

import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.data import read
from tellapart.data.decisions import FILE, Decision, add_decisions, as_decided, decided, kept, read_decisions
from tellapart.data.provenance import about

N = 6


def collection(**columns):
    words = {"text": [f"text {i}" for i in range(N)], "image": [f"{i}.png" for i in range(N)]}
    label = {"label": ["x", "x", "y", "y", "z", None]}
    return Collection.of({"id": list("abcdef"), **words, **label, "group": range(N), "near": range(N), **columns})


def findings():
    def of(kind, items, action, to=None):
        return Findings.of(
            kind, items, [1.0] * len(items), shown=0.5, action=action, reasons=["why"] * len(items), to=to
        )

    unsure = Findings.of("unsure", ["a"], [0.1], shown=0.5, action="drop", reasons=[""])
    return Findings.joined([
        of("odd", ["a", "b"], "drop"), of("misfit", ["b"], "drop"), of("labels", ["c", "f"], "relabel", ["x", "z"]),
        of("others", ["c"], "relabel", ["z"]), of("twins", ["d"], "same-as", ["e"]), of("rare", ["d"], "look"), unsure,
    ])  # fmt: skip


def said(*asked):
    return [Decision(item, kind, word) for kind, item, word in asked]


def test_dropped_items_stay_with_the_reason():
    made = decided(
        collection(), findings(), said(("odd", "b", "accept"), ("misfit", "b", "accept"), ("odd", "a", "reject"))
    )
    assert made.values("dropped") == [None, "misfit: why; odd: why", None, None, None, None]
    assert made.provenance("dropped")["part"] == "decisions"
    assert kept(made).ids.tolist() == list("acdef") and "dropped" not in kept(made).columns
    assert "1 of 6 items were dropped by decision and are left out (1 by misfit, 1 by odd)" in about(made)["notes"]


def test_a_column_dropped_of_somebodys_own_drops_nothing():
    own = collection(dropped=["no"] * N)
    assert kept(own).ids.tolist() == list("abcdef") and kept(own).values("dropped") == ["no"] * N


def test_a_new_label_leaves_the_one_that_was_given():
    made = decided(collection(), findings(), said(("labels", "c", "accept"), ("labels", "f", "accept")))
    assert made.values("label") == ["x", "x", "x", "y", "z", "z"]
    assert made.values("label_given") == ["x", "x", "y", "y", "z", None]


def test_labels_keep_their_type():
    numbers = collection(label=[1, 1, 2, 2, 3, None])
    found = Findings.of("labels", ["c"], [1.0], shown=0.5, action="relabel", reasons=["why"], to=["3"])
    assert decided(numbers, found, said(("labels", "c", "accept"))).values("label") == [1, 1, 3, 2, 3, None]


def test_the_same_as_something_is_a_mark():
    made = decided(collection(), findings(), said(("twins", "d", "accept")))
    group = made.values("group")
    assert group[3] == group[4] and len(set(group)) == N - 1 and len(made) == N


@pytest.mark.parametrize(
    "asked",
    [
        ("rare", "d", "accept"),
        ("unsure", "a", "accept"),
        ("odd", "z", "accept"),
        ("odd", "a", ""),
        ("no", "a", "accept"),
    ],
)
def test_what_says_nothing_changes_nothing(asked):
    assert decided(collection(), findings(), said(asked)).table.equals(collection().table)


def test_what_cannot_be_is_refused():
    both = said(("labels", "c", "accept"), ("others", "c", "accept"))
    with pytest.raises(DataError, match=r"'c' was to become both 'x' and 'z'"):
        decided(collection(), findings(), both)
    with pytest.raises(DataError, match="no label of this collection"):
        decided(collection(label=["y"] * N), findings(), said(("labels", "c", "accept")))
    unlabelled = Collection(collection().table.drop_columns(["label"]))
    with pytest.raises(DataError, match="no column 'label'"):
        decided(unlabelled, findings(), said(("labels", "c", "accept")))
    every = Findings.of("odd", list("abcdef"), [1.0] * N, shown=0, action="drop", reasons=["w"] * N)
    with pytest.raises(DataError, match="every item was dropped"):
        kept(decided(collection(), every, said(*(("odd", i, "accept") for i in "abcdef"))))


def test_a_folder_is_read_as_it_was_decided(tmp_path):
    collection().save(tmp_path)
    findings().save(tmp_path)
    assert read(tmp_path).table.equals(collection().table)
    add_decisions(tmp_path, said(("odd", "a", "accept"), ("twins", "d", "accept"), ("labels", "c", "accept")))
    made = read(tmp_path)
    assert made.ids.tolist() == list("bcdef") and made.values("label")[1] == "x"
    assert made.values("group")[2] == made.values("group")[3]
    assert len(Collection.open(tmp_path)) == N, "nothing is deleted"
    add_decisions(tmp_path, said(("odd", "a", ""), ("twins", "d", "reject"), ("labels", "c", "")))
    assert as_decided(collection(), tmp_path).table.equals(collection().table)


def test_the_last_word_counts_and_empties_take_back(tmp_path):
    add_decisions(tmp_path, said(("odd", "a", "accept"), ("odd", "b", "accept")))
    kept_ = add_decisions(tmp_path, said(("odd", "a", "reject"), ("odd", "b", "")))
    assert kept_ == read_decisions(tmp_path) == said(("odd", "a", "reject"))


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"item": "a", "kind": "odd", "said": "no"}', '{"item": "", "kind": "k", "said": ""}']
)
def test_a_broken_line_is_named(tmp_path, line):
    (tmp_path / FILE).write_text('{"item": "a", "kind": "odd", "said": "accept"}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2: a decision is"):
        read_decisions(tmp_path)
    with pytest.raises(DataError, match="a decision says"):
        add_decisions(tmp_path, [Decision("a", "odd", "maybe")])
