"""Broader terms: what a noun is a kind of, by WordNet where it is installed; nothing where it is not."""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Callable
from pathlib import Path

VARIABLE = "TELLAPART_DATA"
ABOVE = 4  # the levels from `entity` down that say nothing
_PLURALS = (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("men", "man"), ("s", ""))


def broader_terms() -> Callable[[str], tuple[str, ...]] | None:
    """From a word or phrase to the names of what its first sense is a kind of, the nearest first.

    The four highest levels are left out. None where the package wordnet-base (`data.noun`, `index.noun`) is neither
    installed nor below the folder `TELLAPART_DATA`.
    """
    own = os.environ.get(VARIABLE)
    bases = [Path(own, part) for part in ("usr/share/wordnet", "wordnet", "")] if own else []
    for folder in [*bases, Path("/usr/share/wordnet")]:
        if all((folder / name).is_file() for name in ("index.noun", "data.noun")):
            return _reader(str(folder))
    return None


@functools.cache
def _reader(folder: str) -> Callable[[str], tuple[str, ...]]:
    index, data = (_mapped(Path(folder, name)) for name in ("index.noun", "data.noun"))

    @functools.lru_cache(maxsize=100_000)
    def above(offset: int) -> tuple[str, ...]:
        """Names from the synset itself up to the root; a line of wndb(5WN) begins at its offset."""
        cells = data[offset : data.find(b"|", offset)].decode("latin-1").split()
        words = int(cells[3], 16)
        pointers, at = int(cells[4 + 2 * words]), 5 + 2 * words
        up = next((cells[i + 1] for i in range(at, at + 4 * pointers, 4) if cells[i] in ("@", "@i")), None)
        return (cells[4].replace("_", " ").lower(), *(above(int(up)) if up else ()))

    @functools.lru_cache(maxsize=100_000)
    def terms(phrase: str) -> tuple[str, ...]:
        lemma = phrase.lower().strip().replace(" ", "_")
        forms = [lemma, *(lemma[: -len(end)] + other for end, other in _PLURALS if lemma.endswith(end))]
        offset = next((found for form in forms if form and (found := _first_sense(index, form)) is not None), None)
        return above(offset)[1:-ABOVE] if offset is not None else ()

    return terms


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as held:
        return mmap.mmap(held.fileno(), 0, access=mmap.ACCESS_READ)


def _first_sense(index: mmap.mmap, lemma: str) -> int | None:
    """The offset of the first sense, by halving the sorted file: lemma, pos, counts, pointers, …, offsets."""
    wanted = lemma.encode("utf-8", "replace")
    low, high = 0, len(index)
    while low < high:
        middle = (low + high) // 2
        start = index.rfind(b"\n", 0, middle) + 1
        end = index.find(b"\n", start)
        end = len(index) if end < 0 else end
        line = index[start:end]
        key = line.split(b" ", 1)[0]  # the licence's lines begin with a space: their key is empty, and comes first
        if key == wanted:
            cells = line.split()
            return int(cells[-int(cells[2])])
        if key < wanted:
            low = end + 1
        else:
            high = start
    return None
