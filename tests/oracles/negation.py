"""Items of one thing each, and encoders that hear what is denied, do not, hear nothing, or heed first words."""

from __future__ import annotations

import functools
import itertools
import re
import zlib

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Table, Text

CASES: list[dict] = [
    {},
    {"each": 3, "column": "tags", "alone": "kein {y}", "both": "{x}, kein {y}", "joined": "{x} mit {y}"},
]
THINGS = [
    "lemon", "boat", "anchor", "violin", "candle", "rabbit", "ladder", "pencil", "bottle", "window", "hammer", "mirror",
    "basket", "pillow", "rocket", "pepper", "carrot", "trumpet", "helmet", "kettle",
]  # fmt: skip
NO = ("no", "not", "without", "kein")


def sign(words: list[str]) -> dict[str, int]:
    """1 for what a text says, -1 for what it denies."""
    found, deny = {}, 1
    for word in words:
        if word in NO:
            deny = -1
        elif word in THINGS:
            found[word], deny = deny, 1
    return found


@functools.cache
def vector(text: str, how: str) -> np.ndarray:
    words = re.findall(r"\w+", text)
    z = np.zeros(len(THINGS) + 4)
    if how == "nothing":
        return np.random.default_rng(zlib.crc32(text.encode())).normal(size=len(z))
    for place, word in enumerate(words):
        if word in THINGS:
            weight = {"hears": sign(words)[word], "deaf": 1, "by place": 1 / (1 + place)}[how]
            z[THINGS.index(word)] += weight
        else:
            z[len(THINGS) + zlib.crc32(word.encode()) % 4] += 0.3
    return z


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def above(a: float, b: float) -> float:
    return 0.5 if abs(a - b) <= 1e-6 else float(a > b)


def check(build, options: dict) -> None:
    each = options.get("each", 6)
    n = len(THINGS) * each
    kind = [THINGS[i % len(THINGS)] for i in range(n)]
    columns = {
        "id": [f"i{i:03d}" for i in range(n)],
        "text": [f"the picture of a {k}" for k in kind],
        "label": ["x"] * n,
    }
    if "column" in options:
        columns |= {"tags": [f"{k}|thing" for k in kind], "text": ["nothing"] * n}
    collection = Collection.of(columns)
    noise = np.random.default_rng(3).normal(size=(n, len(THINGS) + 4))
    image = unit(np.stack([vector(k, "deaf") for k in kind]) + 0.25 * noise)
    p = {}
    for how in ("hears", "deaf", "by place", "nothing"):
        asked: list[str] = []

        def encode(texts, how=how, asked=asked):
            asked.extend(texts)
            return np.stack([vector(text, how) for text in texts])

        report = build(**options)({"image": image, "text-encoder": encode}, collection, seed=2)
        assert len(asked) == len(set(asked))
        found = {f.figure.name: f for f in report.findings()}
        expected = by_loops(found, asked, how, image, kind, each, options)
        for name, value in expected.items():
            assert found[name].figure.value == pytest.approx(value)
            assert found[name].better == "lower" and len(set(found[name].ids)) == n
        p[how] = [found[name].p for name in expected]
        said = " ".join(b.text for b in report.blocks if isinstance(b, Text))
        assert ("cannot tell" in said) == (how == "nothing")
        table = next(b for b in report.blocks if isinstance(b, Table))
        assert len(table.rows) == 9
    assert min(p["hears"]) > 0.2 and max(p["deaf"]) < 0.01 and min(p["nothing"]) > 0.02
    # what comes first is heeded: right where the denied one always comes second, and not where both ways are asked
    assert (p["by place"][1] < 0.01) == ("both" not in options)
    with pytest.raises(DataError, match="hold"):
        build(alone="nothing of it")({"image": image, "text-encoder": encode}, collection, seed=2)
    with pytest.raises(DataError, match="searches by words"):
        build()({"image": image}, collection, seed=2)


def by_loops(found, asked, how, image, kind, each, options) -> dict[str, float]:
    """The three figures, the pairs of things read off the items of a finding and the texts that were encoded."""

    def score(text: str, i: int) -> float:
        if (text, i) not in known:
            known[text, i] = float(unit(vector(text, how)) @ image[i])
        return known[text, i]

    known: dict[tuple[str, int], float] = {}

    alone = options.get("alone", "no {y}|without {y}").split("|")
    both = options.get("both", "{x}, not {y}|not {y} but {x}").split("|")
    rows = [int(i[1:]) for i in found["one of two denied"].ids]
    blocks = [rows[at : at + each] for at in range(0, len(rows), each)]
    values: dict[str, list[float]] = {name: [] for name in found}
    for a, b in itertools.chain.from_iterable(((u, v), (v, u)) for u, v in zip(blocks[::2], blocks[1::2], strict=True)):
        x, y = kind[a[0]], kind[b[0]]
        assert {kind[i] for i in a} == {x} and {kind[i] for i in b} == {y}
        third = [w for w in THINGS if w not in (x, y) and both[0].format(x=x, y=w) in asked]
        assert len(third) == 1
        neither = [i for i in range(len(kind)) if kind[i] not in (x, y, third[0])]
        for i in a:
            yes = np.mean([above(score(x, i), score(x, j)) for j in b])
            no = np.mean([above(score(t.format(y=x), j), score(t.format(y=x), i)) for t in alone for j in b])
            values["denied alone"].append(yes - no)
            plain = above(score(x, i), score(y, i))
            true = np.mean([above(score(t.format(x=x, y=y), i), score(t.format(x=y, y=x), i)) for t in both])
            values["one of two denied"].append(plain - true)
        for j in b:
            before = [
                np.mean(
                    [above(score(t.format(x=x, y=w), j), score(t.format(x=x, y=w), o)) for t in both for o in neither]
                )
                for w in (y, third[0])
            ]
            values["what is denied is drawn near"].append(before[0] - before[1])
    return {name: float(np.mean(v)) for name, v in values.items()}
