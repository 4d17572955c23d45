"""WordNet 3.0 as a collection: the words of a synset and its gloss, the two ends of a relation, or its graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.graph import with_edges
from tellapart.data.lines import lines
from tellapart.data.provenance import with_about

# lexnames(5WN): the lexicographer files by number.
LEXNAMES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
PARTS = (("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r"))
HYPERNYM = ("@", "@i")
# Of a relation and its inverse one is kept: what the other says would be known from the first.
RELATIONS = {
    "@": "is a kind of", "@i": "is an instance of", "#m": "is a member of", "#p": "is a part of", "#s": "is found in",
    ";c": "belongs to the topic", ";r": "belongs to the region", ";u": "is a usage of the kind", "*": "entails",
    ">": "causes", "&": "is similar to", "$": "is grouped with",
}  # fmt: skip
BOTH_WAYS = ("&", "$")


def wordnet(folder: Path) -> Collection:
    """Every synset as one row.

    Columns: `id` (part of speech and offset, as in n00001740), `anchor` (its words), `positive` (its gloss without the
    examples), `gloss` (the same), `lemmas` (list), `hypernym` (id, null at a root), `lexname`, `pos`.

    Raises:
        DataError: the folder holds no WordNet, or a line is not what wndb(5WN) says.
    """
    rows = list(_synsets(folder))
    schema = pa.schema(
        [(n, pa.string()) for n in ("id", "anchor", "positive", "gloss", "hypernym", "lexname", "pos")]
        + [("lemmas", pa.list_(pa.string()))]
    )
    made = Collection(pa.Table.from_pylist(rows, schema))
    return with_about(made, name="wordnet", licence="WordNet 3.0 licence", source="Debian package wordnet-base",
                      attribution="WordNet 3.0 by Princeton University")  # fmt: skip


def relations(folder: Path) -> Collection:
    """Every relation between two synsets as one row: from what is said of the first one and the relation to the second.

    Columns: `id` (the two synsets and the symbol between them), `anchor` (words and gloss of the head, then the
    relation in words), `positive` (words and gloss of the tail), `head`, `relation`, `tail`. Of a relation and its
    inverse one is kept, and of a relation that goes both ways one direction; relations between words are left out.

    Raises:
        DataError: as `wordnet`, or a relation leads to no synset.
    """
    found = {row["id"]: row for row in _synsets(folder)}
    said = {name: _told(row) for name, row in found.items()}
    rows = [
        {"id": f"{head} {symbol} {tail}", "anchor": f"{said[head]} {RELATIONS[symbol]}", "positive": said[tail],
         "head": head, "relation": RELATIONS[symbol], "tail": tail}
        for head, symbol, tail in _links(found)
    ]  # fmt: skip
    names = ("id", "anchor", "positive", "head", "relation", "tail")
    schema = pa.schema([(name, pa.string()) for name in names])
    made = Collection(pa.Table.from_pylist(rows, schema))
    return with_about(made, name="wordnet-relations", licence="WordNet 3.0 licence",
                      source="Debian package wordnet-base",
                      attribution="WordNet 3.0 by Princeton University")  # fmt: skip


def graph(folder: Path) -> Collection:
    """Every synset as a node with its typed edges.

    Columns: `id`, `text` (words and gloss), `label` (the lexicographer file: a coarse kind), `pos`, `edges` (relation
    in words and id of each synset that it leads to; as in `relations`, one of a relation and its inverse).

    Raises:
        DataError: as `relations`.
    """
    found = {row["id"]: row for row in _synsets(folder)}
    made = Collection.of({
        "id": list(found), "text": [_told(row) for row in found.values()],
        "label": [row["lexname"] for row in found.values()], "pos": [row["pos"] for row in found.values()],
    })  # fmt: skip
    made = with_edges(made, ((head, RELATIONS[symbol], tail) for head, symbol, tail in _links(found)))
    return with_about(made, name="wordnet-graph", licence="WordNet 3.0 licence", source="Debian package wordnet-base",
                      attribution="WordNet 3.0 by Princeton University")  # fmt: skip


def _told(row: dict[str, Any]) -> str:
    return f"{row['anchor']} ({row['gloss']})"


def _links(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Each link once: the synset it starts from, its symbol, and where it leads."""
    seen = set()
    for head, row in found.items():
        for symbol, tail in row["pointers"]:
            if symbol not in RELATIONS or (symbol in BOTH_WAYS and head > tail) or (head, symbol, tail) in seen:
                continue
            if tail not in found:
                raise DataError(f"{head} of WordNet leads to {tail}, which is not there; install wordnet-base again")
            seen.add((head, symbol, tail))
            yield head, symbol, tail


def _synsets(folder: Path) -> Iterator[dict[str, Any]]:
    """Every synset in the order of the files: its columns, and `pointers`, pairs of a symbol and an id."""
    there = False
    for part, pos in PARTS:
        file = folder / f"data.{part}"
        for number, line in enumerate(lines(file), 1):
            if line is None:
                raise DataError(f"{file}:{number} is too long to be a synset")
            if not line.startswith(" ") and line.strip():
                there = True
                yield _synset(line, pos, f"{file}:{number}")
    if not there:
        raise DataError(f"{folder} holds no synsets; install wordnet-base again")


def _synset(line: str, pos: str, place: str) -> dict[str, Any]:
    """One line of wndb(5WN): offset, file, type, words with their numbers, pointers, then the gloss after a bar."""
    try:
        data, _, told = line.partition("|")
        cells = data.split()
        offset, lex, words = cells[0], int(cells[1]), int(cells[3], 16)
        lemmas = [cells[4 + 2 * i].split("(")[0].replace("_", " ") for i in range(words)]
        at = 4 + 2 * words
        pointers = [cells[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(cells[at]))]
        above = next((f"{p[2]}{p[1]}" for p in pointers if p[0] in HYPERNYM), None)
        gloss = told.strip().split('; "')[0].strip()
        lexname = LEXNAMES[lex]
    except (IndexError, ValueError):
        raise DataError(f"{place} is not a synset; install wordnet-base again") from None
    return {
        "id": f"{pos}{offset}", "anchor": ", ".join(dict.fromkeys(lemmas)), "positive": gloss, "gloss": gloss,
        "hypernym": above, "lexname": lexname, "pos": pos, "lemmas": list(dict.fromkeys(lemmas)),
        "pointers": [(p[0], f"{p[2]}{p[1]}") for p in pointers],
    }  # fmt: skip
