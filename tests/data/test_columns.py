from __future__ import annotations

import pytest

from tellapart.core.errors import DataError
from tellapart.data.captions import caption_of
from tellapart.data.columns import roles


@pytest.mark.parametrize(
    ("names", "kind", "of"),
    [
        (["image", "text"], "image", {"image": "image", "text": "text"}),
        (["file_name", "caption"], "image", {"image": "file_name", "text": "caption"}),
        (["filepath", "title"], "image", {"image": "filepath", "text": "title"}),
        (["Image Path", "Label"], "image", {"image": "Image Path", "label": "Label"}),
        (["image_path", "query"], "image", {"image": "image_path", "text": "query"}),
        (["image", "caption", "negative", "negative_1"], "image",
         {"image": "image", "text": "caption", "negative": "negative", "negative_1": "negative_1"}),
        (["image", "label", "negative"], "image", {"image": "image", "label": "label"}),
        (["anchor", "positive", "negative"], "pair",
         {"anchor": "anchor", "positive": "positive", "negative": "negative"}),
        (["sentence1", "sentence2", "score"], "pair",
         {"anchor": "sentence1", "positive": "sentence2", "score": "score"}),
        (["query", "document", "negative_1", "negative_2"], "pair",
         {"anchor": "query", "positive": "document", "negative_1": "negative_1", "negative_2": "negative_2"}),
        (["question", "answer", "title", "description"], "pair", {"anchor": "question", "positive": "answer"}),
        (["text", "label"], "text", {"text": "text", "label": "label"}),
        (["_id", "text", "title"], "text", {"id": "_id", "text": "text"}),
    ],
)  # fmt: skip
def test_columns_are_understood_by_their_names(names, kind, of):
    found = roles(names, "t.csv")
    assert (found.kind, found.of) == (kind, of)
    assert set(found.filters) == set(names) - set(of.values())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["image", "caption", "title"], "several columns that could be 'text': caption, title"),
        (["price", "colour"], "cannot tell what the items"),
        (["anchor", "label"], "no 'positive' beside it"),
        (["answer", "label"], "no 'anchor' beside it"),
        (["image", "anchor", "positive"], "picture .* and a pair"),
        (["text", "text"], "2 columns named 'text'"),
        (["", " "], "no column names"),
        ([f"c{i}" for i in range(1001)] + ["text"], "1,002 columns"),
        (["x" * 2000, "text"], "is its first row the header"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_words(names, words):
    with pytest.raises(DataError, match=words):
        roles(names, "t.csv")


def test_a_caller_can_say_what_is_what():
    found = roles(["comment", "picture", "title"], "t.csv", {"text": "comment"})
    assert found.of == {"text": "comment", "image": "picture"} and set(found.filters) == {"title"}
    with pytest.raises(DataError, match="does not have"):
        roles(["comment"], "t.csv", {"text": "coment"})
    with pytest.raises(DataError, match="did you mean text"):
        roles(["comment"], "t.csv", {"texte": "comment"})


def test_names_with_a_meaning_of_their_own_are_kept_under_another():
    found = roles(["text", "label", "group", "hash"], "t.csv")
    assert found.filters == {"group": "source_group", "hash": "source_hash"} and len(found.notes) == 2
    # An `origin` would be read as what files say of themselves, and a `dropped` as a decision to leave the item out.
    late = roles(["text", "label", "origin", "dropped", "label_given"], "t.csv")
    assert set(late.filters.values()) == {"source_origin", "source_dropped", "source_label_given"}


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("red_apple-01.jpg", "red apple"),
        ("red apple (2).png", "red apple"),
        ("IMG_0001.jpg", ""),
        ("DSC-2041.JPG", ""),
        ("20240102_130405.jpg", ""),
        ("3f2a9c81d0ab.png", ""),
        ("1.png", ""),
        ("赤いりんご.webp", "赤いりんご"),
        ("馬.png", "馬"),
        ("تفاحة_حمراء.png", "تفاحة حمراء"),
        ("Ünïcödé café.jpeg", "Ünïcödé café"),
        ("a cat.v2.png", "a cat v2"),
        (".png", ""),
    ],
)
def test_captions_from_file_names(name, caption):
    assert caption_of(name) == caption


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["reference_image", "caption", "target_image"], ("reference_image", "caption", "target_image")),
        (["candidate", "captions", "target"], ("candidate", "captions", "target")),
        (["source_image", "instruction", "image", "title"], ("source_image", "instruction", "image")),
        (["other_image", "text", "image", "instruction"], ("other_image", "text", "image")),
    ],
)
def test_tables_of_changed_pictures_are_understood(names: list[str], expected: tuple[str, str, str]):
    found = roles(names, "t")
    assert tuple(found.of[role] for role in ("other_image", "text", "image")) == expected
    assert found.further == {"other_image": "image"}


def test_names_of_changes_mean_nothing_without_a_picture_to_change():
    assert roles(["image", "text", "candidate"], "t").filters == {"candidate": "candidate"}
    assert "text" not in roles(["image", "label", "instruction"], "t").of
    assert roles(["anchor", "positive", "reference_image"], "t").of == {"anchor": "anchor", "positive": "positive"}
