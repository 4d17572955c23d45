"""Questions of which each order of words has its own document, for encoders that read the order and that do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"items": 50, "enough": 0.6, "queries": "asked", "documents": "told"}]
NAMES = ("dogs", "cats", "birds", "fish", "mice")
VERBS = ("chase", "help", "carry")


class Encoder:
    cut = 0

    def __init__(self, places: bool) -> None:
        self.places = places

    def query(self, texts):
        words = sorted((*NAMES, *VERBS, "the"))
        z = np.zeros((len(texts), 5, len(words)))
        for row, text in enumerate(texts):
            for at, word in enumerate(text.split()):
                z[row, at if self.places else 0, words.index(word)] += 1
        return z.reshape(len(texts), -1)

    def document(self, texts):
        return self.query([text.removeprefix("answer: ") for text in texts])


def check(build, options: dict) -> None:
    said = [f"the {a} {v} the {b}" for (a, b), v in itertools.product(itertools.permutations(NAMES, 2), VERBS)]
    asking, answering = options.get("queries", "anchor"), options.get("documents", "positive")
    answers = [f"answer: {question}" for question in said]
    collection = Collection.of({"id": [f"s{n}" for n in range(60)], asking: said, answering: answers})
    count = min(options.get("items", 300), 60)
    for places in (True, False):
        report = build(**options)({"encoder": Encoder(places)}, collection, seed=0)
        one = report.findings()[0]
        assert one.figure.count == count == report.figure("R@1").count
        assert one.figure.value == (1.0 if places else 0.5)
        assert (one.p > 0.999) == places and (places or one.p < 0.2)
        exchanged = report.figure("R@1, two words of a kind exchanged").value
        if places:
            # the exchanged question is another one's, word for word
            assert report.figure("R@1").value == 1.0 and exchanged == 0.0
        else:
            # two questions have the same words; where both are among the documents they tie
            kept = one.ids
            shares = []
            for id_ in kept:
                mine = sorted(said[int(id_[1:])].split())
                shares.append(1 / sum(sorted(said[int(other[1:])].split()) == mine for other in kept))
            assert abs(report.figure("R@1").value - np.mean(shares)) < 1e-9
            assert report.figure("R@1").value == exchanged == report.figure("R@1, trigrams shuffled").value
    with pytest.raises(DataError, match="column"):
        build(queries="nothing")({"encoder": Encoder(True)}, collection, seed=0)
