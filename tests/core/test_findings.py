"""Findings are whole or refused, and come back from their file as they were."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.findings import FILE, Findings

ROWS = {"items": ["b", "a", "c"], "scores": [0.5, 0.9, 0.1], "shown": 0.5, "action": "drop", "reasons": ["x", "y", ""]}


def made(kind="odd", **changed):
    return Findings.of(kind, **{**ROWS, **changed})


def test_what_reaches_the_threshold_is_proposed_the_surest_first():
    assert [row["item"] for row in made().proposed().rows()] == ["a", "b"]
    assert not len(made(shown=math.inf).proposed()) and len(made(shown=math.inf)) == 3


def test_a_threshold_read_off_a_score_proposes_it():
    score = 0.1 + 1e-9
    assert len(made(scores=[score, 0, 0], shown=score).proposed()) == 1


def test_kinds_keep_their_thresholds_together_and_in_the_file(tmp_path):
    both = Findings.joined([made(), made("labels", action="relabel", to=["x"] * 3, shown=math.inf)])
    both.save(tmp_path)
    again = Findings.open(tmp_path)
    assert again.table.equals(both.table) and again.shown == {"odd": 0.5, "labels": math.inf}
    assert len(again.of_kind("odd").proposed()) == 2 and len(again.of_kind("nothing")) == 0
    assert not list(tmp_path.glob(".*"))


def test_none_are_findings_too(tmp_path):
    Findings.joined([]).save(tmp_path)
    assert len(Findings.open(tmp_path)) == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"scores": [0.1, math.nan, 0.2]}, "finite"),
        ({"items": ["a", "a", "b"]}, "stands once"),
        ({"action": "burn"}, "'burn' is no action"),
        ({"action": "relabel"}, "say to what"),
        ({"to": ["x", "", ""]}, "say to what"),
        ({"reasons": ["x", " ", ""]}, "has a reason"),
        ({"reasons": ["x"]}, "3 items, but 1 of reason"),
        ({"shown": math.nan}, "threshold"),
    ],
)
def test_what_are_no_findings_is_refused(changed, words):
    with pytest.raises(DataError, match=words):
        made(**changed)


def test_a_kind_without_a_threshold_and_other_columns_are_refused():
    with pytest.raises(DataError, match="lack the threshold"):
        Findings(made().table, {})
    with pytest.raises(DataError, match="have the columns item, kind"):
        Findings(made().table.drop_columns(["to"]), {"odd": 1.0})


def test_a_damaged_file_and_none_are_told_in_words(tmp_path):
    with pytest.raises(DataError, match="holds no findings; make them: tellapart curate DATA"):
        Findings.open(tmp_path)
    made().save(tmp_path)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged"):
        Findings.open(tmp_path)
    file.write_bytes(np.random.default_rng(0).bytes(900))
    with pytest.raises(DataError, match="damaged"):
        Findings.open(tmp_path)
