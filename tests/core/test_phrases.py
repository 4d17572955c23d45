"""Phrases of texts, their log odds, and what nouns are kinds of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core import broader
from tellapart.core.phrases import phrases_of

DATA = """  1 a licence
00000010 03 n 01 entity 0 000 | that which is
00000040 03 n 01 thing 0 001 @ 00000010 n 0000 | a thing
00000090 03 n 01 object 0 001 @ 00000040 n 0000 | an object
00000140 03 n 01 whole 0 001 @ 00000090 n 0000 | a whole
00000190 05 n 02 animal 0 beast 0 001 @ 00000140 n 0000 | a beast
00000240 05 n 01 sea_lion 0 001 @ 00000190 n 0000 | a seal
"""


def wordnet(folder):
    """A WordNet of six synsets, whose offsets are where their lines begin."""
    text, at = DATA, {}
    for line in DATA.splitlines(keepends=True):
        at[line[:8]] = f"{DATA.index(line):08d}"
    for old, new in at.items():
        text = text.replace(old, new) if old.strip() and old[0] != " " else text
    (folder / "data.noun").write_text(text)
    found = {"animal": "00000190", "beast": "00000190", "sea_lion": "00000240", "thing": "00000040"}
    lines = [f"{name} n 1 1 @ 1 0 {at[old]}  " for name, old in sorted(found.items())]
    (folder / "index.noun").write_text("\n".join(["  1 a licence", *lines]) + "\n")


def test_what_a_noun_is_a_kind_of(tmp_path, monkeypatch):
    wordnet(tmp_path)
    monkeypatch.setenv(broader.VARIABLE, str(tmp_path))
    terms = broader.broader_terms()
    assert terms("sea lion") == terms("Sea Lions") == ("animal",)
    assert terms("animal") == terms("thing") == terms("zebra") == terms("aardvark") == terms("") == ()


def test_phrases_neither_begin_nor_end_with_small_words():
    found = phrases_of(["a cup of tea", "Cup of coffee", None, "tea"], longest=3, least=1)
    assert found.names == ["coffee", "cup", "cup of coffee", "cup of tea", "tea"]
    assert found.has(found.names.index("tea")).tolist() == [True, False, False, True]
    assert phrases_of(["tea", "tea"], longest=1, least=1).names == [], "what is in all tells nothing apart"


def test_a_text_has_what_its_words_are_kinds_of():
    found = phrases_of(["a seal", "a whale", "a cup"], longest=1, least=2, broader=lambda p: ("animal",) * (p != "cup"))
    assert found.names == ["animal"] and found.broader == [True]
    assert found.rows[0].tolist() == [0, 1]


def test_log_odds_are_those_of_the_counts():
    texts = ["red"] * 6 + ["blue"] * 4 + ["red"] * 2 + ["blue"] * 8 + ["red"] * 5
    inside, among = np.arange(25) < 10, np.arange(25) < 20
    found = phrases_of(texts, longest=1, least=1)
    odds = dict(zip(found.names, found.odds(inside, among), strict=True))
    yes, no = (6 + 4.0, 2 + 4.0), (4 + 6.0, 8 + 6.0)
    z = math.log(yes[0] / no[0]) - math.log(yes[1] / no[1])
    assert odds["red"] == pytest.approx(z / math.sqrt(sum(1 / v for v in yes + no)))
    assert odds["blue"] == pytest.approx(-odds["red"])
