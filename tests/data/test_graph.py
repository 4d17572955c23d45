from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import graph as room
from tellapart.data import read
from tellapart.data.provenance import about
from tellapart.data.readers import graph as reader

NODES = (
    "id,text,kind,class\n1,a red apple,food,fruit\n2,a green pear,food,fruit\n"
    "3,a blue car,thing,vehicle\n4,a bus,thing,vehicle\n"
)
EDGES = "source,target,type,weight\n1,2,grows_near,0.5\n3,4,parked_at,2\n"


def folder(tmp_path, nodes=NODES, edges=EDGES):
    (tmp_path / "nodes.csv").write_text(nodes, encoding="utf-8")
    (tmp_path / "edges.csv").write_text(edges, encoding="utf-8")
    return tmp_path


def reasons(collection):
    return {row["place"]: row["reason"] for row in collection.problems.to_pylist()}


def edges(collection):
    kept = zip(collection.ids, collection.values("edges"), strict=True)
    return {(node, edge["relation"], edge["node"]) for node, found in kept for edge in found}


def test_nodes_with_labels_are_the_items(tmp_path):
    found = read(folder(tmp_path))
    assert found.ids.tolist() == ["1", "2", "3", "4"] and found.values("text")[2] == "a blue car"
    assert found.values("label") == ["fruit", "fruit", "vehicle", "vehicle"]
    assert found.values("kind") == ["food", "food", "thing", "thing"]
    assert edges(found) == {("1", "grows_near", "2"), ("3", "parked_at", "4")}
    assert found.sides().target == "label" and not len(found.problems)
    notes = about(found)["notes"]
    assert "a graph of 4 nodes and 2 links: grows_near (1), parked_at (1)" in notes
    assert any("--column positive=tail" in note for note in notes)
    found.save(tmp_path / "kept")
    assert edges(Collection.open(tmp_path / "kept")) == edges(found)


def test_links_where_asked_for_or_where_there_are_no_labels(tmp_path):
    asked = read(folder(tmp_path), columns={"positive": "tail"})
    assert asked.values("anchor") == ["a red apple grows near", "a blue car parked at"]
    assert asked.values("positive") == ["a green pear", "a bus"] and asked.ids[0] == "1 grows_near 2"
    assert [asked.values(c)[1] for c in ("head", "relation", "tail", "weight")] == ["3", "parked_at", "4", 2.0]
    assert asked.sides().query.column == "anchor"
    bare = read(folder(tmp_path, nodes="id,name\n1,apple\n2,pear\n3,car\n4,bus\n"))
    assert bare.values("positive") == ["pear", "bus"]
    assert any("--column label=ATTRIBUTE" in note for note in about(bare)["notes"])


def test_another_attribute_as_label_or_text(tmp_path):
    found = read(folder(tmp_path), columns={"label": "kind"})
    assert found.values("label") == ["food", "food", "thing", "thing"]
    assert found.values("source_class") == ["fruit", "fruit", "vehicle", "vehicle"]
    found = read(folder(tmp_path), columns={"text": "kind"})
    assert found.values("text")[0] == "food"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": "knd"}, "did you mean kind"),
        ({"positive": "head"}, "--column positive=tail"),
        ({"image": "kind"}, "takes label, text"),
        ({"label": "kind", "anchor": "head"}, "give one of them"),
    ],
)
def test_columns_that_are_not_there_are_refused(tmp_path, columns, words):
    with pytest.raises(DataError, match=words):
        read(folder(tmp_path), columns=columns)


def test_what_is_wrong_with_a_link_or_a_node_is_a_problem(tmp_path):
    nodes = NODES + "5,,,\n1,again,food,fruit\n,nobody,food,fruit\nsmall_dog,,,\n"
    links = EDGES + "1,9,knows,\n2,2,knows,\n,3,knows,\n1,2,grows_near,\n3,5,parked_at,\n1,small_dog,feeds,\n"
    found = read(folder(tmp_path, nodes, links))
    said = reasons(found)
    assert said["edges.csv:4"] == "a link to an unknown node: '9'" and "to itself" in said["edges.csv:5"]
    assert "without one of its ends" in said["edges.csv:6"] and "without a text or a name" in said["nodes.csv:6"]
    assert "more than once" in said["nodes.csv:7"] and "without an id" in said["nodes.csv:8"] and len(said) == 6
    assert found.ids.tolist() == ["1", "2", "3", "4", "small_dog"] and found.values("text")[4] == "small dog"
    assert edges(found) == {("1", "grows_near", "2"), ("3", "parked_at", "4"), ("1", "feeds", "small_dog")}
    assert "1 nodes have no text or name: their id is read instead" in about(found)["notes"]
    asked = read(tmp_path, columns={"anchor": "head"})
    assert "one end has no text" in reasons(asked)["edges.csv:8"] and len(asked) == 3


@pytest.mark.parametrize(
    ("nodes", "links", "words"),
    [
        ("id,text\n", "source,target\n", "empty graph"),
        ("id,text\n1,a\n2,b\n", "source,target\n", "holds no items"),
        ("number,text\n1,a\n", EDGES, "name one 'id'"),
        (NODES, "a,b\n1,2\n", "where a link starts: name one 'head'"),
        (NODES, "src,b\n1,2\n", "where a link ends: name one 'tail'"),
        ("id,text\n1,\n2,\n", "src,dst\n1,2\n", "one end has no text"),
    ],
)
def test_a_graph_with_nothing_in_it_is_said(tmp_path, nodes, links, words):
    with pytest.raises(DataError, match=words):
        read(folder(tmp_path, nodes, links))


def test_too_many_nodes_or_links_are_refused(tmp_path, monkeypatch):
    folder(tmp_path)
    for name, words in (("GRAPH_NODES", "more than 3 nodes"), ("GRAPH_LINKS", "more than 1 links")):
        with monkeypatch.context() as patch:
            most = 3 if name == "GRAPH_NODES" else 1
            patch.setattr(reader, name, most)
            patch.setattr(room, name, most)
            with pytest.raises(DataError, match=words):
                read(tmp_path)


def test_tables_in_other_formats(tmp_path):
    rows = [{"id": i, "text": f"text {i}", "label": "x" if i < 3 else "y"} for i in range(6)]
    (tmp_path / "entities.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pq.write_table(pa.table({"head": [0, 1], "tail": [2, 3], "relation": ["r", "s"]}), tmp_path / "triples.parquet")
    found = read(tmp_path)
    assert edges(found) == {("0", "r", "2"), ("1", "s", "3")} and found.values("label")[5] == "y"


def test_triples(tmp_path):
    table = tmp_path / "facts.tsv"
    table.write_text("head\trelation\ttail\nBerlin\tcapital_of\tGermany\nParis\tcapital_of\tFrance\n", encoding="utf-8")
    found = read(table)
    assert found.values("anchor") == ["Berlin capital of", "Paris capital of"]
    assert found.values("positive") == ["Germany", "France"] and found.values("relation") == ["capital_of"] * 2
    (tmp_path / "f.jsonl").write_text('{"subject": "a b", "predicate": "p", "object": "c", "split": "test"}\n')
    found = read(tmp_path / "f.jsonl")
    assert found.values("anchor") == ["a b p"] and found.values("split") == ["test"]
    with pytest.raises(DataError, match="no node has that"):
        read(table, columns={"label": "relation"})


def test_triples_by_the_parts_of_a_split(tmp_path):
    for split, tail in (("train", "Germany"), ("valid", "France"), ("test", "Spain")):
        (tmp_path / f"{split}.csv").write_text(f"head,relation,tail\ncity,lies in,{tail}\n", encoding="utf-8")
    found = read(tmp_path)
    assert sorted(zip(found.values("positive"), found.values("split"), strict=True)) == [
        ("France", "validation"), ("Germany", "train"), ("Spain", "test"),
    ]  # fmt: skip


def test_pairs_that_name_their_triples_stay_pairs(tmp_path):
    text = "anchor,positive,head,relation,tail\nx is,y,1,is,2\n"
    (tmp_path / "pairs.csv").write_text(text)
    assert read(tmp_path / "pairs.csv").values("anchor") == ["x is"]
    (tmp_path / "plain.csv").write_text("text,source,target,type,label\na,1,2,3,b\n")
    assert read(tmp_path / "plain.csv").values("text") == ["a"]


def test_a_split_of_the_nodes_is_kept(tmp_path):
    nodes = "id,text,label,split\n1,a,x,train\n2,b,x,dev\n3,c,y,test\n4,d,y,train\n"
    assert read(folder(tmp_path, nodes)).values("split") == ["train", "validation", "test", "train"]


def drawn(nx):
    g = nx.MultiDiGraph()
    for i, (text, label) in enumerate(
        [("a red apple", "fruit"), ("a pear", "fruit"), ("a car", "toy"), ("a bus", "toy")]
    ):
        g.add_node(f"n{i}", text=text, category=label, size=i)
    g.add_edge("n0", "n1", relation="near")
    g.add_edge("n0", "n1", relation="like")
    g.add_edge("n2", "n3", relation="near")
    return g


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["graphml", "gexf", "gml"])
def test_files_of_graphs(tmp_path, kind, packed):
    nx = pytest.importorskip("networkx")
    file = tmp_path / f"g.{kind}"
    getattr(nx, f"write_{kind}")(drawn(nx), file)
    if packed:
        whole = file.read_bytes()
        file = tmp_path / f"h.{kind}.gz"
        file.write_bytes(gzip.compress(whole))
    found = read(file)
    assert found.values("text") == ["a red apple", "a pear", "a car", "a bus"]
    assert found.values("label") == ["fruit", "fruit", "toy", "toy"] and found.values("size") == [0, 1, 2, 3]
    first, second = found.ids[:2]
    assert {edge for edge in edges(found) if edge[0] == first} == {(first, "near", second), (first, "like", second)}
    links = read(file, columns={"positive": "tail"})
    assert links.values("anchor")[:2] == ["a red apple near", "a red apple like"]


def test_names_are_no_labels(tmp_path):
    """In GEXF and GML `label` is the name of a node: it is read, and the links are the items."""
    nx = pytest.importorskip("networkx")
    g = nx.Graph()
    g.add_edges_from([("Valjean", "Javert"), ("Valjean", "Cosette"), ("Cosette", "Marius")])
    for kind in ("gexf", "gml", "graphml"):
        getattr(nx, f"write_{kind}")(g, tmp_path / f"g.{kind}")
        found = read(tmp_path / f"g.{kind}")
        assert found.values("positive") == ["Javert", "Cosette", "Marius"]
        assert found.values("anchor")[0] == "Valjean is linked to"


def test_links_that_go_both_ways_stand_at_both_ends(tmp_path):
    nx = pytest.importorskip("networkx")
    g = nx.Graph()
    for i in range(4):
        g.add_node(str(i), text=f"text {i}", label="x" if i < 2 else "y")
    g.add_edge("0", "1", type="near")
    nx.write_graphml(g, tmp_path / "g.graphml")
    assert edges(read(tmp_path / "g.graphml")) == {("0", "near", "1"), ("1", "near", "0")}


HEAD = '<?xml version="1.0"?>\n'
BODY = (
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    '<key id="d" for="node" attr.name="text" attr.type="string"/>'
    '<graph edgedefault="directed"><node id="a"><data key="d">{}</data></node><node id="b"/>{}</graph></graphml>'
)
LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE g [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + LAUGHS + BODY.format("&b;", ""), "DOCTYPE"),
        (HEAD + OUTSIDE + BODY.format("&a;", ""), "DOCTYPE"),
        ((HEAD.replace("1.0", "1.0", 1) + LAUGHS + BODY.format("&b;", "")).encode("utf-16"), "DOCTYPE"),
        (HEAD + BODY.format("&b;", ""), "not XML"),
        (HEAD + BODY.format("x", "")[:-30], "not XML"),
        ("", "is empty"),
        (HEAD + "<graphml/>", "not graphml that can be read"),
        (HEAD + BODY.format("x", '<node id="c"><data key="no">x</data></node>'), "no key no"),
        (HEAD + "<a>" * 100 + "</a>" * 100, "more than 64 deep"),
    ],
)
def test_xml_that_is_refused(tmp_path, text, words):
    pytest.importorskip("networkx")
    (tmp_path / "g.graphml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        read(tmp_path / "g.graphml")


def test_an_edge_to_a_node_that_no_file_declares(tmp_path):
    pytest.importorskip("networkx")
    more = '<edge source="a" target="b"/><edge source="a" target="nowhere"/>'
    (tmp_path / "g.graphml").write_text(HEAD + BODY.format("an apple", more))
    found = read(tmp_path / "g.graphml")
    assert found.values("anchor") == ["an apple is linked to"] and found.values("positive") == ["b"]
    assert reasons(found) == {"g.graphml: edge 2": "a link to an unknown node: 'nowhere'"}


def test_a_file_that_is_too_large_or_no_graph(tmp_path, monkeypatch):
    pytest.importorskip("networkx")
    (tmp_path / "g.gml").write_text("graph [ node [ id 0 id 1 ] edge [ source 0 target 7 ] ]")
    with pytest.raises(DataError, match="not gml that can be read"):
        read(tmp_path / "g.gml")
    (tmp_path / "b.gml.gz").write_bytes(gzip.compress(b" " * 10_000))
    monkeypatch.setattr(reader, "GRAPH_BYTES", 1000)
    with pytest.raises(DataError, match=r"1000 bytes.*nodes.csv"):
        read(tmp_path / "b.gml.gz")
    (tmp_path / "c.gml.gz").write_bytes(gzip.compress(b"graph")[:-6])
    with pytest.raises(DataError, match="cut short"):
        read(tmp_path / "c.gml.gz")


def test_without_networkx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.core.needs.installed", lambda name: name != "networkx")
    (tmp_path / "g.graphml").write_text(HEAD + BODY.format("x", ""))
    with pytest.raises(DataError.__mro__[1], match=r"tellapart\[graph\]"):
        read(tmp_path / "g.graphml")
