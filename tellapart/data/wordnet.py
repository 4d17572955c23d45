"""WordNet 3.0 as a collection of pairs: the words of a synset and its gloss, with the tree of hypernyms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
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


def wordnet(folder: Path) -> Collection:
    """Every synset as one row.

    Columns: `id` (part of speech and offset, as in n00001740), `anchor` (its words), `positive` (its gloss without the
    examples), `gloss` (the same), `lemmas` (list), `hypernym` (id, null at a root), `lexname`, `pos`.

    Raises:
        DataError: the folder holds no WordNet, or a line is not what wndb(5WN) says.
    """
    rows: list[dict[str, Any]] = []
    for part, pos in PARTS:
        file = folder / f"data.{part}"
        for number, line in enumerate(lines(file), 1):
            if line is None:
                raise DataError(f"{file}:{number} is too long to be a synset")
            if not line.startswith(" ") and line.strip():
                rows.append(_synset(line, pos, f"{file}:{number}"))
    if not rows:
        raise DataError(f"{folder} holds no synsets; install wordnet-base again")
    schema = pa.schema(
        [(n, pa.string()) for n in ("id", "anchor", "positive", "gloss", "hypernym", "lexname", "pos")]
        + [("lemmas", pa.list_(pa.string()))]
    )
    made = Collection(pa.Table.from_pylist(rows, schema))
    return with_about(made, name="wordnet", licence="WordNet 3.0 licence", source="Debian package wordnet-base",
                      attribution="WordNet 3.0 by Princeton University")  # fmt: skip


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
    }  # fmt: skip
