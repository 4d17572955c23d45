"""Biases put into the default collection, and where an audit ranks them among all that it looks for.

    python benchmarks/planted_biases.py [--strengths 0.6 0.7 0.8 0.9 1.0] [--clean 20] [--items 900] [--seeds 1]

Drawings of openmoji, a label by the toss of a coin, and one cue that agrees with the label in such a share: the colour
of the drawing, its ground, its size, a mark that a word of the caption names, a mark that the column `source` names. In
a clean collection every cue is dealt at random (`tellapart.protocol.planted_cues`). The model is a frozen encoder of
colours and gradients, so that the planted cue is all there is to go by, and there is as much to mistake for one.

Every collection is given to `tellapart audit` as it stands, with every part that it can run. First: the finding with
the smallest p is the planted cue's, or one that its very words name. Reported: it is called clear, corrected for all
findings of the audit. Clean: the share of clean collections of which nothing is called clear.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time

import numpy as np
from _record import spread, write

from tellapart.auditing import CLEAR, audit
from tellapart.core.chance import wilson
from tellapart.core.parts import cards
from tellapart.core.report import Report, Table
from tellapart.protocol.planted_cues import ENCODER, MARKS, planted

CUES = ("colour", "ground", "size", "word", "group")
NAMED = {
    "colour": r"\bcolour\b", "ground": r"\bground\b", "size": r"\bsize\b", "word": r"\b(" + "|".join(MARKS) + r")\b",
    "group": r"\bsource\b",
}  # fmt: skip
ALL = "All that was looked for"


def ranked(report: Report) -> list[tuple[str, float]]:
    """All findings of an audit and their p, corrected, in its order."""
    table = next((b for b in report.blocks if isinstance(b, Table) and b.title == ALL), None)
    return [(str(row[0]), float(row[2])) for row in table.rows] if table else []


def asked(cue: str, strength: float, items: int, seed: int) -> tuple[list[tuple[str, float]], float, list[str]]:
    """(findings, seconds of the audit, parts that answered) of one collection."""
    made, _ = planted("openmoji", cue, strength, items, seed)
    with tempfile.TemporaryDirectory() as folder:
        made.save(folder)
        start = time.perf_counter()
        given = audit(ENCODER, folder)
        report = given if isinstance(given, Report) else given[0]
    return ranked(report), time.perf_counter() - start, sorted(report.facts["seconds"])


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--strengths", type=float, nargs="+", default=[0.6, 0.7, 0.8, 0.9, 1.0])
    given.add_argument("--clean", type=int, default=20)
    given.add_argument("--items", type=int, default=900)
    given.add_argument("--seeds", type=int, default=1)
    given = given.parse_args()
    rows, called, seconds, parts = [], [], [], []
    for seed in range(100, 100 + given.seeds):
        for cue in CUES:
            for strength in given.strengths:
                found, took, parts = asked(cue, strength, given.items, seed)
                first = found[0][0] if found else ""
                hit = bool(re.search(NAMED[cue], first))
                told = any(re.search(NAMED[cue], name) and p < CLEAR for name, p in found)
                beside = [name for name, p in found if p < CLEAR and not re.search(NAMED[cue], name)]
                row = {"cue": cue, "strength": strength, "first": hit, "reported": told, "said first": first}
                rows.append({**row, "also clear": beside})
                seconds.append(took)
                sys.stderr.write(f"{rows[-1]}\n")
    for seed in range(1000, 1000 + given.clean):
        found, took, parts = asked("", 0.5, given.items, seed)
        called.append([name for name, p in found if p < CLEAR])
        seconds.append(took)
        sys.stderr.write(f"clean {seed}: {called[-1]} of {len(found)}\n")
    quiet = sum(not names for names in called)
    result = {
        "what": "biases put into openmoji, and where an audit ranks them",
        "to reach": {"planted cue first": 0.9, "clean collections with nothing reported": 0.95},
        "planted cue first": share([row["first"] for row in rows]),
        "planted cue reported": share([row["reported"] for row in rows]),
        "clean collections with nothing reported": {**share([not names for names in called]), "quiet": quiet},
        "called clear in clean collections": [names for names in called if names],
        "each": rows,
        "parts": parts,
        "parts there are": len(cards("audit")),
        "seconds of an audit": spread(seconds, 1),
    }
    write("planted_biases", result, ["numpy", "pillow"])


def share(hits: list[bool]) -> dict[str, float | int | list[float]]:
    """A share with its 95% interval (Wilson)."""
    if not hits:
        return {"count": 0}
    value = float(np.mean(hits))
    return {"share": value, "interval": [round(v, 3) for v in wilson(value, len(hits))], "count": len(hits)}


if __name__ == "__main__":
    main()
