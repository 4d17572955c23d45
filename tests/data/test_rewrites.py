"""Captions that are one another but for a few words."""

from __future__ import annotations

import itertools

from tellapart.data.rewrites import LONGEST, rewrites

TEXTS = [f"A {colour} {thing}" for colour, thing in itertools.product(("red", "blue", "green"), ("house", "boat"))]


def differing(one: str, other: str) -> tuple[list[str], list[str]]:
    a, b = one.lower().split(), other.lower().split()
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return a, b


def test_a_rewrite_says_what_differs_and_nothing_else():
    found = rewrites(TEXTS)
    assert {one.reference for one in found} == set(range(len(TEXTS)))
    for one in found:
        old, new = differing(TEXTS[one.reference], TEXTS[one.target])
        assert one.reference != one.target and len(old) <= 3 and len(new) <= 3
        assert set(new) <= set(one.words.split()) and "{" not in one.words
    assert found == rewrites(TEXTS) and found != rewrites(TEXTS, seed=1)


def test_words_are_added_and_taken_away():
    found = {(one.reference, one.target): one.words for one in rewrites(["red house", "red house by the sea"], each=9)}
    assert set(found) == {(0, 1), (1, 0)}
    assert "by the sea" in found[0, 1] and found[1, 0].startswith(("without", "no", "the same without"))


def test_at_most_so_many_a_caption_and_none_of_what_is_like_nothing():
    found = rewrites(
        [*TEXTS, "something else altogether", "one two three four", " ".join(["x"] * (LONGEST + 1)), ""], each=2
    )
    counts = [sum(one.reference == row for one in found) for row in range(len(TEXTS) + 4)]
    assert max(counts) == 2 and counts[len(TEXTS) :] == [0] * 4
    assert not rewrites(["A red house", "a red, house"]) and not rewrites([])


def test_what_has_few_values_is_changed_as_often_as_what_has_many():
    texts = [f"{thing} in {colour}" for thing in map(str, range(60)) for colour in ("red", "blue")]
    found = rewrites(texts, most_words=1, each=1)
    colours = sum(texts[one.reference].split()[0] == texts[one.target].split()[0] for one in found)
    assert 0.35 < colours / len(found) < 0.65
