"""Parts that look for faults, on collections into which faults were put, so that each is known.

**odd-captions** (`openmoji`: drawings and their names; `fashion`: photographs, each with the caption "a photograph of a
sneaker" that all of its kind share, which is no fault): `share` of the items lose their caption. Half of them get
punctuation, a word for nothing or a file's name; the other half one of a few general captions ("image", "click to
enlarge"), each with five items or more. The baseline `length-and-repeats` is the rule without a look at the pictures:
fewer than five characters, or a caption that stands with four items or more.

Metrics: `precision` and `recall` of what is proposed, and `AUROC` of the scores, against what was put in.

Options (`[options]` of the spec):
    share: how many of the items are given a fault (0.05).
    items: at most so many items of a data set (3000).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.core.parts import make, parse_spec
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

GENERAL = ("image", "picture", "Photo", "click to enlarge", "icon", "image may be subject to copyright", "stock photo")
EMPTY = ("...", "-", "???", "* * *", "N/A", "untitled", "unknown", "tbd", "no text")
FILES = ("IMG_{}.JPG", "dsc{}", "image{}.png", "photo-{}", "scan {}", "final_{}.webp", "P10{}")
FEWEST = 5

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    protocols: dict[str, Callable[..., Figures]] = {"odd-captions": captions}
    name = parse_spec(spec["part"])[0]
    if name not in protocols:
        raise DataError(f"the protocol find knows {', '.join(protocols)}, not {name}")
    return protocols[name](spec, data, seed)


def captions(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """How well captions that say nothing are found."""
    if spec["baseline"] != "length-and-repeats":
        raise DataError(f"odd-captions is compared with length-and-repeats, not with {spec['baseline']}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    said, x = captioned(data)
    rows = np.sort(rng.permutation(len(said))[: spec["options"].get("items", 3000)])
    said, x = [said[row] for row in rows], x[rows]
    odd = np.zeros(len(said), bool)
    chosen = rng.permutation(len(said))[: round(len(said) * spec["options"].get("share", 0.05))]
    odd[chosen] = True
    half = len(chosen) // 2
    for row in chosen[:half]:
        number = str(rng.integers(1000, 10_000))
        said[row] = str(rng.choice(EMPTY)) if rng.random() < 0.5 else str(rng.choice(FILES)).format(number)
    general = rng.permutation(GENERAL)[: max(1, min(len(GENERAL), (len(chosen) - half) // FEWEST))]
    for place, row in enumerate(chosen[half:]):
        said[row] = str(general[place % len(general)])
    collection = Collection.of({"text": said, "image": [f"{i}.png" for i in range(len(said))]})
    found = make("find", spec["part"])({"document": x}, collection, seed=seed)
    lengths = np.array([len(text) for text in said])
    counts = np.array([said.count(text) for text in said])
    plain = np.where(lengths < 5, 1.0, 1 - 1 / counts)
    return against(odd, plain, plain >= 0.75, found)


def against(wrong: np.ndarray, plain: np.ndarray, told: np.ndarray, found: Findings) -> Figures:
    """Figures of a baseline's scores and of what it tells, beside those of findings about the same rows."""
    proposed = set(found.proposed().table["item"].to_pylist())
    ours = np.array([item in proposed for item in found.table["item"].to_pylist()])
    pairs = ((plain, told), (found.table["score"].to_numpy(), ours))
    both = [(*_hits(wrong, named), auroc(wrong, scores)) for scores, named in pairs]
    return {name: (both[0][i], both[1][i]) for i, name in enumerate(("precision", "recall", "AUROC"))}


def auroc(wrong: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a fault scores above what is none; equal scores count half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(wrong, scores))


def _hits(wrong: np.ndarray, told: np.ndarray) -> tuple[float, float]:
    right = int((wrong & told).sum())
    return right / max(1, int(told.sum())), right / int(wrong.sum())


@functools.cache
def captioned(data: str) -> tuple[list[str], np.ndarray]:
    """Captions and the EfficientNet-Lite0 features of their pictures."""
    from tellapart.engine.embed import embed

    if data == "fashion":
        found = _sets.load("fashion")
        return [f"a photograph of a {label}" for label in found.y.tolist()], found.x
    if data != "openmoji":
        raise DataError(f"odd-captions is judged on openmoji and fashion, not on {data!r}")
    made = _sets.shipped("openmoji")
    x = embed(made, "image", make("encode", "lite0"), cache=cache_folder(None, "evidence-vectors"))
    return [str(text) for text in made.values("text")], np.array(x)
