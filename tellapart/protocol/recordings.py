"""Encoders of recordings: frozen vectors of windows, judged by a linear classifier on held-out windows.

Both encoders give vectors of the same windows; each chooses the strength of the same classifier (`logistic-regression`
on standardised vectors) on the validation part, is fitted on the training part and looks at the test part once. The
figure is the share of test windows whose class is found. The split that the files come with is not used: all windows
are split anew for every seed, half, a fifth and the rest.

Data, all shipped by the package aeon: `BasicMotions` (6 channels), `GunPoint` and `ItalyPowerDemand` (one channel),
`JapaneseVowels` (12 channels, windows of unlike lengths).

Options: `strengths`, what the classifier's `c` is chosen from.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.protocol._sets import Labelled, split

DATA = ("BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels")
SHARES = (0.5, 0.2, 0.3)
STRENGTHS = (0.01, 0.1, 1.0, 10.0)

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec.get("options", {})
    if unknown := [name for name in options if name != "strengths"]:
        raise PartError(f"the protocol recordings has no option {unknown[0]!r}; it knows strengths")
    if data not in DATA:
        raise DataError(f"the protocol recordings knows {', '.join(DATA)}, not {data!r}")
    base, ours = (chosen(vectors(data, spec[name]), options, seed) for name in ("baseline", "part"))
    return {"accuracy": (base, ours)}


@functools.cache
def vectors(data: str, encoder: str) -> Labelled:
    """The labelled windows of a data set under an encoder; equal windows are one group."""
    from tellapart.data.identity import curate
    from tellapart.data.shipped import recordings

    made = curate(recordings(data))
    x = np.array(embed(made, "series", make("encode", encoder), cache=cache_folder(None, "evidence-vectors")))
    return Labelled(x, np.asarray(made.values("label")), made.numbers("group"))


def chosen(held: Labelled, options: dict[str, Any], seed: int) -> float:
    """The test accuracy of the classifier that is best on the validation part."""
    train, validation, test = split(held, seed, SHARES)
    mean, spread = train.x.mean(0), train.x.std(0)
    spread = np.where(spread > 1e-6, spread, 1.0)

    def accuracy(c: float, part: Labelled) -> float:
        fitted = make("classify", f"logistic-regression(c={c})").fit((train.x - mean) / spread, train.y)
        return float(np.mean(fitted.predict((part.x - mean) / spread) == part.y))

    strengths = options.get("strengths", STRENGTHS)
    return accuracy(max(strengths, key=lambda c: accuracy(c, validation)), test)
