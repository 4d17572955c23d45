"""Graphs: GraphML, GEXF and GML files, a folder with tables of nodes and edges, tables of triples."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.core.progress import Progress
from tellapart.data.columns import ALIASES, plain
from tellapart.data.graph import ADVICE, UNNAMED, Graph, Link, collection_of
from tellapart.data.limits import GRAPH_BYTES, GRAPH_LINKS, GRAPH_NODES, XML_DEPTH, size_words
from tellapart.data.lines import lines, record
from tellapart.data.problems import Problems
from tellapart.data.readers import delimited, jsonl, parquet, table_folder
from tellapart.data.tables import Row

ORDER = 30
XML = (".graphml", ".gexf")
SUFFIXES = (*XML, ".gml")
NODES = ("nodes", "vertices", "entities")
LINKS = ("edges", "links", "relations", "triples")
TRIPLES = (("head", "relation", "tail"), ("subject", "predicate", "object"))
# What networkx lets through of a file that is not what its name says.
WRONG = (SyntaxError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
ID = ("id", *ALIASES["id"], "node", "node_id")
HEAD = ("head", "source", "src", "from", "subject", "start", "u")
TAIL = ("tail", "target", "dst", "to", "object", "end", "v")
TYPE = ("relation", "type", "predicate", "rel", "kind", "edge_type", "relationship", "property", "label", "name")


def accepts(path: Path) -> bool:
    """A file named .graphml, .gexf or .gml (also .gz); a folder with nodes.csv and edges.csv, or such names in another
    table format; a table, or tables named by a split, with the columns head, relation and tail."""
    if path.is_dir():
        return bool(_pair(path)) or bool(_parts(path))
    if not path.is_file():
        return False
    return _format(path) in SUFFIXES or _triples(path)


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """The nodes of a graph as items where they have labels, otherwise its links as pairs; see `data.graph`."""
    if path.is_file() and _format(path) in SUFFIXES:
        graph = _graph_file(path)
    elif path.is_dir() and (pair := _pair(path)):
        graph = _graph_tables(*pair)
    else:
        graph = _graph_triples(_parts(path) if path.is_dir() else [(path, "")])
    if not graph.nodes and not graph.links and not graph.problems.count:
        raise DataError(f"{path.name} is an empty graph. {ADVICE}")
    return collection_of(graph, source=path.name, root=root, columns=columns, cache=cache, progress=progress)


def _graph_tables(nodes: Path, edges: Path) -> Graph:
    graph = Graph({}, [])
    assert graph.nodes is not None
    id_ = None
    for place, row in _rows(nodes, graph.problems):
        id_ = id_ or _column(row, ID, nodes, "its nodes by")
        node = _name(row.get(id_))
        if not node:
            graph.problems.add("", place, "a node without an id")
        elif node in graph.nodes:
            graph.problems.add(node, place, "a node that stands more than once; the first one is kept")
        else:
            graph.nodes[node], graph.places[node] = {n: v for n, v in row.items() if n != id_}, place
        if len(graph.nodes) > GRAPH_NODES:
            graph.check_size()
    _add_links(graph, edges, "")
    return graph


def _graph_triples(tables: list[tuple[Path, str]]) -> Graph:
    graph = Graph(None, [])
    for table, split in tables:
        _add_links(graph, table, split)
    return graph


def _add_links(graph: Graph, table: Path, split: str) -> None:
    ends: tuple[str, str, str | None] | None = None
    for place, row in _rows(table, graph.problems):
        if ends is None:
            head, tail = (
                _column(row, HEAD, table, "where a link starts"),
                _column(row, TAIL, table, "where a link ends"),
            )
            ends = head, tail, _find([n for n in row if n not in (head, tail)], TYPE)
        values = [_name(row.get(end)) for end in ends[:2]]
        if not all(values):
            graph.problems.add("", place, "a link without one of its ends")
            continue
        kind = (_name(row.get(ends[2])) if ends[2] else "") or UNNAMED
        said = {n: v for n, v in row.items() if n not in ends} | ({"split": split} if split else {})
        graph.links.append(Link(values[0], kind, values[1], said, place))
        if len(graph.links) > GRAPH_LINKS:
            graph.check_size()


def _graph_file(path: Path) -> Graph:
    """A file through networkx; XML is looked through first, so that it can neither expand entities nor nest deep."""
    kind = _format(path)
    data = _bytes(path)
    declared = _looked_through(data, path.name) if kind in XML else None
    nx = require("networkx", f"a graph in {kind[1:]}")
    readers: dict[str, Any] = {".graphml": nx.read_graphml, ".gexf": nx.read_gexf, ".gml": nx.read_gml}
    options = {".graphml": {"force_multigraph": True}, ".gml": {"label": "id"}}.get(kind, {})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = readers[kind](io.BytesIO(data), **options)
    except (
        nx.NetworkXException,
        SyntaxError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise DataError(f"{path.name} is not {kind[1:]} that can be read: {error or type(error).__name__}") from None
    usual = {what: found.graph.get(f"{what}_default") or {} for what in ("node", "edge")}
    nodes = {str(n): {**usual["node"], **said} for n, said in found.nodes(data=True) if _known(n, declared)}
    links = []
    for number, (head, tail, said) in enumerate(found.edges(data=True), 1):
        said = {**usual["edge"], **{str(n): v for n, v in said.items()}}
        kind_of = _find([n for n in said if _name(said[n])], TYPE)
        relation = _name(said.pop(kind_of)) if kind_of else UNNAMED
        links.append(Link(str(head), relation, str(tail), said, f"{path.name}: edge {number}"))
    return Graph(nodes, links, not found.is_directed(), {n: f"{path.name}: node {n}" for n in nodes})


def _known(node: Any, declared: set[str] | None) -> bool:
    return declared is None or str(node) in declared


def _looked_through(data: bytes, name: str) -> set[str]:
    """The ids of the nodes that an XML file declares.

    Raises:
        DataError: it is no XML, declares entities or a document type, or nests too deep.
    """
    parser = expat.ParserCreate()
    depth, ids = 0, set()

    def refuse(*_: Any) -> None:
        raise DataError(f"{name} has a DOCTYPE, which may hide entities that grow: remove it, and what it declares")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > XML_DEPTH:
            raise DataError(f"{name} has elements inside elements more than {XML_DEPTH} deep")
        if tag.rsplit(":", 1)[-1] == "node" and "id" in attributes:
            ids.add(attributes["id"])

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(f"{name} is not XML: {error}") from None
    return ids


def _bytes(path: Path) -> bytes:
    """A whole file, unpacked where it is packed, of bounded size."""
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            data = file.read(GRAPH_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name} is cut short or no gzip file: {error}") from None
    if len(data) > GRAPH_BYTES:
        raise DataError(
            f"{path.name} has more than {size_words(GRAPH_BYTES)}, which is what is read at once: write it as a folder "
            "with nodes.csv and edges.csv"
        )
    if not data.strip():
        raise DataError(f"{path.name} is empty. {ADVICE}")
    return data


def _rows(table: Path, problems: Problems) -> Iterator[Row]:
    for block in table_folder.rows_of(table, problems):
        yield from block


def _column(row: Mapping[str, Any], known: tuple[str, ...], table: Path, what: str) -> str:
    found = _find(list(row), known)
    if found is None:
        raise DataError(
            f"{table.name} has no column that says {what}: name one {known[0]!r}; the columns are {', '.join(row)}"
        )
    return found


def _find(names: list[str], known: tuple[str, ...]) -> str | None:
    return next((name for wanted in known for name in names if plain(name) == wanted), None)


def _name(value: Any) -> str:
    """An id or a type as text; whole numbers as they are written without a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _format(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """The tables of nodes and of edges of a folder."""
    tables = {
        file.name.lower().split(".", 1)[0]: file for file in sorted(folder.iterdir(), reverse=True) if _is_table(file)
    }
    found = [next((tables[stem] for stem in stems if stem in tables), None) for stems in (NODES, LINKS)]
    return (found[0], found[1]) if found[0] and found[1] else None


def _parts(folder: Path) -> list[tuple[Path, str]]:
    """Tables of triples that are named by the parts of a split."""
    tables = table_folder.tables_of(folder)
    return tables if tables and all(_triples(table) for table, _ in tables) else []


def _is_table(file: Path) -> bool:
    return file.name.lower().endswith(table_folder.SUFFIXES) and file.is_file() and not file.name.startswith(".")


def _triples(table: Path) -> bool:
    """Whether the columns of a table are those of triples, and nothing else that items are made of."""
    names = {plain(name) for name in _header(table)}
    return any(names.issuperset(wanted) for wanted in TRIPLES) and not {"anchor", "positive"} <= names


def _header(table: Path) -> list[str]:
    """The names of the columns, from the first line or the footer alone; none where they cannot be read."""
    name = table.name.lower()
    try:
        if name.endswith(delimited.SUFFIXES):
            first = next(iter(lines(table)), None) or ""
            return next(csv.reader([first], delimiter=delimited.delimiter(table)), [])
        if name.endswith(parquet.SUFFIXES):
            return parquet.names(table)
        if name.endswith(jsonl.SUFFIXES):
            first = next((line for line in lines(table) if line is None or line.strip()), None) or ""
            return [] if first.lstrip("\ufeff \t").startswith("[") else list(record(first))
    except (DataError, csv.Error):
        return []
    return []
