"""The heat map against an encoder whose truth is known: it reads so many words, and no key beyond them."""

from __future__ import annotations

import re

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.report import Table

CASES: list[dict] = [{}, {"shortest": 64, "lengths": 3, "depths": 4, "texts": 3, "column": "body"}]
READS = 300


class Names:
    """A text is the name whose key it read, by its place among all names; without one, the first axis."""

    def __init__(self) -> None:
        self.cut, self.seen, self.read = 0, [], []

    def query(self, texts):
        self.asked = [re.search(r"key of (\w+)\?", text).group(1) for text in texts]
        assert len(set(self.asked)) == len(texts)
        return np.eye(len(texts) + 1)[1:]

    def document(self, texts):
        self.read.append(texts)
        z = np.zeros((len(texts), len(texts) + 1))
        for row, text in enumerate(texts):
            words = text.split()
            self.cut += len(words) > READS
            name = re.search(r"The pass key of (\w+) is \d{5}\.", " ".join(words[:READS]))
            z[row, self.asked.index(name.group(1)) + 1 if name else 0] = 1
        return z


def check(build, options: dict) -> None:
    column = options.get("column", "text")
    rows = [f"once upon a time number {n} there was a text of some words" for n in range(80)]
    collection = Collection.of({"id": [f"t{n}" for n in range(80)], column: rows})
    shortest, lengths = options.get("shortest", 128), options.get("lengths", 4)
    depths, texts = options.get("depths", 5), options.get("texts", 10)
    encoder = Names()
    report = build(**options)({"encoder": encoder}, collection, seed=3)
    heat = next(block for block in report.blocks if isinstance(block, Table)).rows
    for row in range(lengths):
        length, found, cut = shortest * 2**row, [], 0
        assert len(encoder.read[row]) == depths * texts
        for number, text in enumerate(encoder.read[row]):
            words = text.split()
            assert len(words) == length + 7
            cut += len(words) > READS
            place = words.index("pass") - 1
            assert abs(place - (number // texts + 0.5) / depths * length) <= 1
            # where nothing is read all texts tie, and each of them has its share
            found.append(1 if place + 7 <= READS else 1 / (depths * texts))
        assert abs(report.figure(f"found first, {length} words").value - sum(found) / len(found)) < 1e-9
        cells = [sum(found[d * texts : (d + 1) * texts]) / texts for d in range(depths)]
        assert list(heat[row]) == [f"{length} words", *(f"{cell:.2f}" for cell in cells), f"{cut}"]
