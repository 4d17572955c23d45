"""The table of the page is that of the code, and every score that finds the unknown serves some task."""

from __future__ import annotations

from pathlib import Path

from tellapart import catalogue
from tellapart.core.detection import COLUMNS, TASKS, tasks_of
from tellapart.core.parts import cards

PAGE = Path(__file__).parents[2] / "docs" / "detecting.md"


def test_the_page_shows_the_tasks_as_the_code_has_them():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"| {' | '.join(COLUMNS)} |")
    shown = [line.strip("| ").split(" | ") for line in lines[start + 2 : start + 2 + len(TASKS)]]
    assert shown == [task.row() for task in TASKS]


def test_a_score_serves_the_tasks_that_its_needs_allow():
    of = {name: tasks_of(card.traits) for name, card in cards("score").items()}
    assert len(of["knn"]) == 5 and of["dsir"] == ()
    assert of["hvcm"] == of["clipn"] == ("open-set recognition", "out-of-distribution detection")
    assert all(of[name] for name, card in cards("score").items() if "unknown" in card.traits)


def test_a_part_says_its_tasks():
    assert catalogue.explain("hvcm").facts["tasks"] == "open-set recognition, out-of-distribution detection"
    assert "tasks" not in catalogue.explain("dsir").facts
