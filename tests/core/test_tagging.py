"""Kinds of words, and what becomes of texts whose words move."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.tagging import (
    all_but_those,
    kinds,
    nouns_and_adjectives,
    pieces,
    reordered,
    swapped,
    trigrams,
    within_trigrams,
    words_of,
)


@pytest.mark.parametrize(("text", "expected"), [
    ("A red disc left of a blue cross", "small adjective noun preposition preposition small adjective noun"),
    ("smiling face with heart-eyes", "adjective noun preposition noun"),
    ("the dog slowly chases 2 famous cats", "small noun adverb verb number adjective noun"),
    ("call centre", "noun noun"),
    ("music festival on the left", "noun noun preposition small noun"),
    ("a red square beside a sticky light", "small adjective noun preposition small adjective noun"),
])  # fmt: skip
def test_kinds_of_words(text, expected):
    assert " ".join(kinds(words_of(text))) == expected


def test_pieces_make_the_text_up_again():
    text = "  man: dark-haired, (isn't he?) – ok!"
    found, places = pieces(text)
    assert "".join(found) == text
    assert [found[at] for at in places] == ["man", "dark-haired", "isn't", "he", "ok"]


@pytest.mark.parametrize("order", [nouns_and_adjectives, all_but_those, trigrams, within_trigrams])
def test_orders_move_what_they_say_and_nothing_else(order):
    text = "the black dog quickly chases a white cat across some old bridge"
    words = words_of(text)
    kind = kinds(words)
    for seed in range(30):
        made = words_of(reordered(text, order, np.random.default_rng(seed)))
        assert sorted(made) == sorted(words) and made != words
        if order is nouns_and_adjectives:
            assert kinds(made) == kind
            assert [w for w, k in zip(made, kind, strict=True) if k not in ("noun", "adjective")] == [
                w for w, k in zip(words, kind, strict=True) if k not in ("noun", "adjective")
            ]
        if order is all_but_those:
            fixed = [at for at, k in enumerate(kind) if k in ("noun", "adjective")]
            assert [made[at] for at in fixed] == [words[at] for at in fixed]
        runs = [words[at : at + 3] for at in range(0, 12, 3)]
        if order is trigrams:
            assert sorted(made[at : at + 3] for at in range(0, 12, 3)) == sorted(runs)
        if order is within_trigrams:
            assert [sorted(made[at : at + 3]) for at in range(0, 12, 3)] == [sorted(run) for run in runs]


def test_what_cannot_be_moved_is_none():
    rng = np.random.default_rng(0)
    assert reordered("dog dog", within_trigrams, rng) is None
    assert reordered("a dog", swapped("noun"), rng) is None
    assert reordered("salt and pepper", swapped("noun"), rng) is None
    assert reordered("", trigrams, rng) is None
