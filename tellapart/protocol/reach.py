"""How well the audit `longembed` tells from which length on, and how deep, an encoder does not find what stands there.

The audit looks at few texts of each length and depth. The truth is known (`planted`: an encoder made up for it, which
reads so many words, drawn by the seed, and finds what it has read) or measured on `truth` times as many texts of
another seed (`wordnet`: MiniLM that reads 64 tokens, on texts of glosses). The baseline says one number, the mean over
all texts of the audit, as a benchmark of mixed lengths does; a second one what is found in the shortest texts, as a
benchmark of short texts does.

Metrics: `error about a length and depth`, the mean distance of what is said from the true share found first;
`error about where it fails`, in doublings of the length: it fails from the first length on at which less than half is
found, and never counts as the length after the longest. Both also `…, against short texts`.

Options: shortest (32), lengths (5), depths (4), texts (6), as of the audit; truth (5); items (4000) glosses.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.report import Report, Table
from tellapart.data import shipped
from tellapart.engine.reading import Reader

LOWER_IS_BETTER = ("error",)
DATA = ("planted", "wordnet")
WIDTH = 64
KNOWN = ("shortest", "lengths", "depths", "texts", "truth", "items")


class Reach:
    """Finds a name in the first `words` words of a text, and nothing behind them."""

    cut = 0

    def __init__(self, words: int) -> None:
        self.words = words

    def query(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] the direction of the name that is asked for."""
        return np.stack([_direction(re.findall(r"key of (\w+)\?", text)[0]) for text in texts])

    def document(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] the direction of the name that is read, or one of the text's own."""
        read = [" ".join(text.split()[: self.words]) for text in texts]
        names = [re.findall(r"The pass key of (\w+)", text) for text in read]
        return np.stack([_direction(n[0] if n else text) for n, text in zip(names, read, strict=True)])


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, audit)} for one seed."""
    options = dict(spec["options"])
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise DataError(f"the protocol reach has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol reach knows {', '.join(DATA)}, not {data!r}")
    glosses, more = _glosses(options.pop("items", 4000)), options.pop("truth", 5)
    asked = {"shortest": 32, "lengths": 5, "depths": 4, "texts": 6, "column": "gloss", **options}
    lengths = asked["shortest"] * 2 ** np.arange(asked["lengths"])
    if data == "planted":
        reach = round(float(np.exp(np.random.default_rng(seed).uniform(*np.log([lengths[0], lengths[-1]])))))
        encoder: Any = Reach(reach)
        depth = (np.arange(asked["depths"]) + 0.5) / asked["depths"]
        name_at = np.round(depth * lengths[:, None]) + 4
        truth = (name_at < reach).astype(float)
    else:
        encoder = Reader(make("encode", "minilm(max_tokens=64)"))
        truth = _told(encoder, glosses, {**asked, "texts": more * asked["texts"]}, 1000 + seed)
    told = _told(encoder, glosses, asked, seed)
    said = {"": np.full_like(told, told.mean()), ", against short texts": np.full_like(told, told[0].mean())}
    figures = {}
    for words, plain in said.items():
        off = (float(np.abs(plain - truth).mean()), float(np.abs(told - truth).mean()))
        figures[f"error about a length and depth{words}"] = off
        fails = _fails(truth)
        figures[f"error about where it fails{words}"] = abs(_fails(plain) - fails), abs(_fails(told) - fails)
    return figures


def _told(encoder: Any, glosses: Collection, asked: dict[str, Any], seed: int) -> np.ndarray:
    """[lengths, depths] the share that the audit says is found first."""
    report: Report = make("audit", "longembed", **asked)({"encoder": encoder}, glosses, seed=seed)
    table = next(block for block in report.blocks if isinstance(block, Table))
    return np.array([[float(cell) for cell in row[1:-1]] for row in table.rows])


def _fails(shares: np.ndarray) -> float:
    """The place of the first length at which less than half is found; one behind the last where there is none."""
    short = np.flatnonzero(shares.mean(1) < 0.5)
    return float(short[0]) if len(short) else float(len(shares))


def _direction(words: str) -> np.ndarray:
    z = np.random.default_rng(list(words.encode())).normal(size=WIDTH)
    found: np.ndarray = z / np.linalg.norm(z)
    return found


@functools.cache
def _glosses(items: int) -> Collection:
    whole = shipped.wordnet()
    return whole.take(np.linspace(0, len(whole) - 1, items).astype(int))
