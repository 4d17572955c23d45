"""A graph as a collection: its nodes are items that keep their typed edges, or its links are pairs of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.core.progress import Progress
from tellapart.data.columns import ALIASES, plain
from tellapart.data.limits import GRAPH_LINKS, GRAPH_NODES, NAME_CHARS, TEXT_CHARS
from tellapart.data.problems import Problems
from tellapart.data.provenance import with_about
from tellapart.data.tables import Row, collect, in_blocks

EDGES = "edges"
EDGE = pa.struct([("relation", pa.string()), ("node", pa.string())])
TRIPLE = ("head", "relation", "tail")
ENDS = {"anchor": "head", "positive": "tail"}
NAMES = ("name", "label")
KEPT = ("split", "score", "concept")
UNNAMED = "is linked to"
ROWS = 4096
TYPES_TOLD = 12
ADVICE = "A graph holds nodes with a text or a name, and links between them."


class Link(NamedTuple):
    """A typed edge: from where, how, to where; what else is said of it; and where it stands."""

    head: str
    relation: str
    tail: str
    said: dict[str, Any]
    place: str


@dataclass
class Graph:
    """What a reader found.

    Attributes:
        nodes: attributes by id; None where every end of a link is a node, and its id is its text.
        links: in the order of the source.
        both_ways: whether a link says the same of both ends.
        places: where a node stands, for those that do not stand at their id.
        problems: what the reader could not take in.
    """

    nodes: dict[str, dict[str, Any]] | None
    links: list[Link]
    both_ways: bool = False
    places: dict[str, str] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)

    def check_size(self) -> None:
        """Raise `DataError` for more than is read."""
        for what, count, most in (
            ("nodes", len(self.nodes or ()), GRAPH_NODES),
            ("links", len(self.links), GRAPH_LINKS),
        ):
            if count > most:
                raise DataError(f"the graph has more than {most:,} {what}, which is what is read; give a part of it")


def collection_of(
    graph: Graph,
    *,
    source: str,
    root: Path | None = None,
    columns: Mapping[str, str] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """The nodes where they have labels, otherwise the links.

    Args:
        columns: `label` names what a node is labelled by, and asks for the nodes; `positive: tail` or `anchor: head`
            asks for the links; `text` names what is read of a node.

    Raises:
        DataError: nothing to take, or `columns` that name what is not there.
    """
    graph.check_size()
    given = dict(columns or {})
    names = list(dict.fromkeys(name for said in (graph.nodes or {}).values() for name in said))
    _check(given, names)
    label = given.get("label") or (_shared(graph, names) if graph.nodes else None)
    by_links = bool(given.keys() & ENDS) or (label is None)
    texts, unnamed = _texts(graph, names, given.get("text"), label)
    links = _sound(graph)
    rows = _pairs(links, texts, graph) if by_links else _items(graph, texts, label)
    made = collect(
        in_blocks(rows, ROWS), source=source, root=root or Path(), cache=cache, progress=progress,
        problems=graph.problems, typed=not _all_text(graph), advice=ADVICE,
    )  # fmt: skip
    if by_links:
        for name in TRIPLE:
            made = made.with_column(name, made[name].cast(pa.string()))
    else:
        made = with_edges(made, ((link.head, link.relation, link.tail) for link in links), both_ways=graph.both_ways)
    return with_about(made, notes=_notes(links, len(texts), unnamed, label, by_links))


def with_edges(collection: Collection, links: Iterable[tuple[str, str, str]], *, both_ways: bool = False) -> Collection:
    """A collection of nodes with the column `edges`: the relation and the id at the other end of what leaves a node.

    Links to or from what is not in the collection are left out; where links go both ways, either end has them.
    """
    edges: list[list[dict[str, str]]] = [[] for _ in range(len(collection))]
    row_of = collection.row_of
    for head, relation, tail in links:
        if head in row_of and tail in row_of:
            edges[row_of[head]].append({"relation": relation, "node": tail})
            if both_ways:
                edges[row_of[tail]].append({"relation": relation, "node": head})
    return collection.with_column(EDGES, pa.array(edges, pa.list_(EDGE)))


def _check(given: dict[str, str], names: Sequence[str]) -> None:
    for role, column in given.items():
        if role in ENDS:
            if column != ENDS[role]:
                raise DataError(f"the links of a graph are read with --column {role}={ENDS[role]}, not {column!r}")
        elif role not in ("label", "text"):
            raise DataError(f"of a graph --column takes label, text, and positive=tail for its links, not {role!r}")
        elif column not in names:
            raise DataError(f"--column {role}={column}: no node has that; {near(column, names)}")
    if "label" in given and given.keys() & ENDS:
        raise DataError(
            "--column label= asks for the nodes of a graph and positive=tail for its links: give one of them"
        )


def _shared(graph: Graph, names: Sequence[str]) -> str | None:
    """What nodes are labelled by: an attribute of such a name that nodes share; one of each its own is a name."""
    known = ("label", *ALIASES["label"])
    for name in sorted((n for n in names if plain(n) in known), key=lambda n: known.index(plain(n))):
        values = Counter(str(said[name]) for said in (graph.nodes or {}).values() if not _empty(said.get(name)))
        if values and 2 * len(values) <= values.total():
            return name
    return None


def _texts(graph: Graph, names: Sequence[str], given: str | None, label: str | None) -> tuple[dict[str, str], int]:
    """What is read of each node: its text, otherwise its name, otherwise its id where that says something; and of how
    many it is the id."""
    if graph.nodes is None:
        return {end: _words(end) for link in graph.links for end in (link.head, link.tail)}, 0
    known = ("text", *ALIASES["text"])
    found = sorted((n for n in names if plain(n) in known), key=lambda n: known.index(plain(n)))
    of_names = [n for wanted in NAMES for n in names if plain(n) == wanted]
    order = [n for n in ([given] if given else [*found, *of_names]) if n != label]
    texts, unnamed = {}, 0
    for node, said in graph.nodes.items():
        first = next((said[n].strip() for n in order if isinstance(said.get(n), str) and said[n].strip()), None)
        if first is None and any(c.isalpha() for c in node):
            first, unnamed = _words(node), unnamed + 1
        if first is not None and len(first) <= TEXT_CHARS:
            texts[node] = first
    return texts, unnamed


def _sound(graph: Graph) -> list[Link]:
    """The links between two different nodes, each once; what is wrong with the others is a problem."""
    seen: set[tuple[str, str, str]] = set()
    sound = []
    for link in graph.links:
        missing = [end for end in (link.head, link.tail) if graph.nodes is not None and end not in graph.nodes]
        id_ = _id(link)[:NAME_CHARS]
        if missing:
            graph.problems.add(id_, link.place, f"a link to an unknown node: {missing[0][:NAME_CHARS]!r}")
        elif link.head == link.tail:
            graph.problems.add(id_, link.place, "a link from a node to itself")
        elif link[:3] not in seen and not (graph.both_ways and link[2::-1] in seen):
            seen.add(link[:3])
            sound.append(link)
    return sound


def _items(graph: Graph, texts: Mapping[str, str], label: str | None) -> Iterator[Row]:
    for node, said in (graph.nodes or {}).items():
        place = graph.places.get(node, node)
        if node not in texts:
            graph.problems.add(node[:NAME_CHARS], place, "a node without a text or a name")
            continue
        others = {n: v for n, v in said.items() if n != label and not (isinstance(v, str) and v.strip() == texts[node])}
        held = {"id": node, "text": texts[node]}
        if label is not None:
            held["label"] = _plain(said.get(label))
        yield place, {**_beside(others, held), **held}


def _pairs(links: Sequence[Link], texts: Mapping[str, str], graph: Graph) -> Iterator[Row]:
    for link in links:
        mute = next((end for end in (link.head, link.tail) if end not in texts), None)
        if mute is not None:
            graph.problems.add(
                _id(link)[:NAME_CHARS], link.place, f"one end has no text or name: {mute[:NAME_CHARS]!r}"
            )
            continue
        held = {
            "id": _id(link), "anchor": f"{texts[link.head]} {_words(link.relation)}", "positive": texts[link.tail],
            "head": link.head, "relation": link.relation, "tail": link.tail,
        }  # fmt: skip
        yield link.place, {**_beside(link.said, held), **held}


def _beside(said: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """What else is known of an item, as filters, under names that mean nothing else here."""
    roles = {name for role, aliases in ALIASES.items() for name in (role, *aliases)} - set(KEPT)
    found = {}
    for name, value in said.items():
        taken = plain(name) in roles or name in held or name in (EDGES, *ENDS)
        found[f"source_{name}" if taken else name] = _plain(value)
    return found


def _notes(links: Sequence[Link], nodes: int, unnamed: int, label: str | None, by_links: bool) -> list[str]:
    types = Counter(link.relation for link in links).most_common()
    told = ", ".join(f"{name} ({count})" for name, count in types[:TYPES_TOLD])
    more = f", and {len(types) - TYPES_TOLD} further types" if len(types) > TYPES_TOLD else ""
    notes = [f"a graph of {nodes} nodes and {len(links)} links: {told}{more}" if links else
             f"a graph of {nodes} nodes without links"]  # fmt: skip
    if by_links:
        notes.append(
            "its links are the items, pairs of texts; --column label=ATTRIBUTE, in Python columns={'label': ATTRIBUTE}"
            ", takes its nodes instead"
        )
    else:
        notes.append(
            f"its nodes are the items, labelled by {label!r}; --column positive=tail, in Python columns={{'positive': "
            "'tail'}, takes its links instead"
        )
    if unnamed:
        notes.append(f"{unnamed} nodes have no text or name: their id is read instead")
    return notes


def _all_text(graph: Graph) -> bool:
    said = (value for one in (graph.nodes or {}).values() for value in one.values())
    return all(isinstance(v, str | None) for v in said) and all(
        isinstance(v, str | None) for link in graph.links for v in link.said.values()
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _id(link: Link) -> str:
    return f"{link.head} {link.relation} {link.tail}"
