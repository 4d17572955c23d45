"""Faults put into the default collection, and how many of them curation finds.

    python benchmarks/planted_faults.py [--seeds 3]

Into the drawings of openmoji and their names are put, as files with a table of captions: 200 copies under their own
names (a quarter each made smaller, cut at the edges, compressed, recoloured, as `protocol.copied` does); 200 items
whose names were exchanged; 100 captions that say nothing (punctuation, words for nothing, names of files, four general
words that eight items or more share); 50 files that are no pictures (cut short, empty, text, noise after a header); 100
generated look-alikes, each a blend of two neighbours of the list, under a name of its own, which are no copies.

All goes the way of `tellapart curate FOLDER --out F`: read, group, find. A copy is found where it or its original is
proposed as the same as the other; pairs of drawings that curation groups in the untouched collection count neither way.
Precision is of what a part proposes, recall of what was put in; the names by AUROC over items with their own pictures.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import spread, write
from PIL import Image

from tellapart import data
from tellapart.core.findings import Findings
from tellapart.data import shipped
from tellapart.data.images import image_source, open_image
from tellapart.finding import find
from tellapart.protocol.copied import KINDS, changed
from tellapart.protocol.find import EMPTY, FILES, GENERAL, auroc

COPIES, NAMES, BLANK, CORRUPT, LOOK_ALIKES = 200, 200, 100, 50, 100
SHARED = 4
PARTS = ("copies", "odd-captions", "misfit-captions")


def planted(folder: Path, seed: int) -> dict[str, set[str]]:
    """Files and `captions.csv` in a folder; the ids of each fault, and of copies `original>copy`."""
    rng, made = np.random.default_rng(seed), shipped.openmoji()
    pictures = [open_image(image_source(value, made.root)) for value in made.values("image")]
    names = [str(text) for text in made.values("text")]
    order = rng.permutation(len(names))
    some = iter(np.split(order, np.cumsum([COPIES, NAMES, BLANK, CORRUPT, LOOK_ALIKES])))
    said, faults = list(names), {}
    rows = [(f"o{i}", picture) for i, picture in enumerate(pictures)]
    copied, renamed, emptied, broken, blended = (next(some) for _ in range(5))
    faults["copies"] = {f"o{row}>c{row}" for row in copied}
    rows += [(f"c{row}", changed(pictures[row], KINDS[i % 4], rng)) for i, row in enumerate(copied)]
    said += [names[row] for row in copied]
    faults["names"] = {f"o{row}" for row in renamed}
    for row, other in zip(renamed, np.roll(renamed, 1), strict=True):
        said[row] = names[other]
    faults["blank"] = {f"o{row}" for row in emptied}
    for i, row in enumerate(emptied):
        told = (str(rng.choice(EMPTY)), str(rng.choice(FILES)), GENERAL[i % SHARED])[i % 3]
        said[row] = told.format(rng.integers(1000, 10_000))
    for row in blended:
        rows.append((f"g{row}", Image.blend(pictures[row], pictures[row - 1].resize(pictures[row].size), 0.5)))
        said.append(f"{names[row]} and {names[row - 1]}")
    for name, picture in rows:
        picture.save(folder / f"{name}.png")
    faults["corrupt"] = {f"o{row}" for row in broken}
    for i, row in enumerate(broken):
        file = folder / f"o{row}.png"
        whole = file.read_bytes()
        file.write_bytes((whole[: len(whole) // 2], b"", b"a text", whole[:40] + rng.bytes(200))[i % 4])
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(["id", "image", "text"])
        table.writerows([name, f"{name}.png", text] for (name, _), text in zip(rows, said, strict=True))
    return faults


def looked(folder: Path, seed: int) -> tuple[dict[str, Findings], set[str]]:
    """The findings by part, and the ids of what could not be read."""
    collection = data.curate(data.read(folder / "captions.csv"))
    found = find(collection, PARTS, seed=seed)
    lost = {Path(str(p["id"])).stem for p in collection.problems.to_pylist()}
    return {part: found.of_kind(part) for part in PARTS}, lost


def before() -> set[tuple[str, str]]:
    """Pairs of drawings that the untouched collection has in one group."""
    made = data.curate(shipped.openmoji())
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(made.numbers("group").tolist()):
        rows.setdefault(group, []).append(row)
    return {(f"o{a}", f"o{b}") for each in rows.values() for a in each for b in each if a != b}


def figures(
    faults: dict[str, set[str]], found: dict[str, Findings], lost: set[str], known: set[tuple[str, str]]
) -> dict:
    told = set()
    for row in found["copies"].proposed().rows():
        pair = (str(row["to"]), str(row["item"]))
        if pair not in known:
            told.add(">".join(sorted(pair, key=lambda name: (name[0] == "c", name))))
    readable = faults["copies"] - {pair for pair in faults["copies"] if pair.split(">")[0] in lost}
    blank = {str(row["item"]) for row in found["odd-captions"].proposed().rows()}
    misfits = found["misfit-captions"].table
    wrong = np.asarray([item in faults["names"] for item in misfits["item"].to_pylist()])
    kinds = {
        "copies": (told, readable),
        "blank": (blank, faults["blank"] - lost),
        "corrupt": (lost, faults["corrupt"]),
    }
    shown = {}
    for name, (said, true) in kinds.items():
        shown[f"{name}, precision"] = len(said & true) / max(1, len(said))
        shown[f"{name}, recall"] = len(said & true) / len(true)
    shown["look-alikes taken for copies"] = sum(pair[0] == "g" or ">g" in pair for pair in told)
    shown["names, AUROC"] = auroc(wrong, misfits["score"].to_numpy())
    return shown


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seeds", type=int, default=3)
    given = given.parse_args()
    known, rows, seconds = before(), [], []
    for seed in range(100, 100 + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            faults = planted(Path(folder), seed)
            start = time.perf_counter()
            found, lost = looked(Path(folder), seed)
            seconds.append(time.perf_counter() - start)
        rows.append(figures(faults, found, lost, known))
        sys.stderr.write(f"{seed}: {rows[-1]}\n")
    result = {
        "what": "faults put into openmoji, found by curation",
        "to reach": {"precision and recall of copies, blank and corrupt": 0.95, "names, AUROC": 0.9},
        "put in": {"copies": COPIES, "names": NAMES, "blank": BLANK, "corrupt": CORRUPT, "look-alikes": LOOK_ALIKES},
        "figures": {name: spread([row[name] for row in rows]) for name in rows[0]},
        "seconds": spread(seconds, 1),
    }
    write("planted_faults", result, ["numpy", "pillow", "faiss-cpu"])


if __name__ == "__main__":
    main()
