"""How often the intervals of audits hold the truth: simulated audits of populations whose figures are known.

    python benchmarks/coverage.py [--audits 1000]

Each audit draws a new collection from the same population and asks for its intervals:

- `slices`, gap and accuracy: 600 items of four classes, a model right on 85% of most and 75% of one slice of a fifth;
- `shuffled-words`-like shares over 300 items (`core.redraw`, one an item, 80% right);
- means over duplicate groups of one to four items with one answer (`core.redraw`, 150 groups);
- the difference of two means of other values (`core.chance.difference`, 60 inside, 240 outside, skewed values).

Wanted: the truth inside of 93% to 97% of the intervals, of each kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from _record import write

from tellapart.core import redraw
from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.parts import make

LOW, HIGH = 0.93, 0.97
Ends = tuple[float | None, float | None]


def sliced(rng: np.random.Generator, seed: int) -> dict[str, tuple[Ends, float]]:
    """The gap of one slice and the accuracy of all, by `slices` on answers that are given."""
    n, rest, low, share = 600, 0.85, 0.75, 0.2
    dark, truth = rng.random(n) < share, rng.integers(4, size=n)
    right = rng.random(n) < np.where(dark, low, rest)
    said = np.where(right, truth, (truth + 1 + rng.integers(3, size=n)) % 4)
    made = Collection.of({
        "id": [f"i{i:04d}" for i in range(n)], "label": [f"kind {t}" for t in truth],
        "said": [f"kind {t}" for t in said], "tone": np.where(dark, "dark", "light").tolist(),
    })  # fmt: skip
    report = make("audit", "slices", predicted="said")({"document": np.zeros((n, 2))}, made, seed=seed)
    gap, accuracy = report.figure("slice tone=dark"), report.figure("accuracy")
    return {
        "gap of a slice": ((gap.low, gap.high), rest - low),
        "accuracy": ((accuracy.low, accuracy.high), share * low + (1 - share) * rest),
    }


def drawn(rng: np.random.Generator, seed: int) -> dict[str, tuple[Ends, float]]:
    """A share of items, and one of items that come in groups of one answer."""
    alone = (rng.random(300) < 0.8).astype(float)
    size = rng.integers(1, 5, 150)
    groups = np.repeat(np.arange(150), size)
    answers = (rng.random(150) < 0.8).astype(float)[groups]
    return {
        "a share of items": (redraw.interval(redraw.mean(alone), np.arange(300), seed=seed), 0.8),
        "a share of groups": (redraw.interval(redraw.mean(answers), groups, seed=seed), 0.8),
    }


def compared(rng: np.random.Generator, seed: int) -> dict[str, tuple[Ends, float]]:
    """The difference of two means of skewed values."""
    values = rng.gamma(2.0, 1.0, 300)
    inside = np.arange(300) < 60
    values[inside] += 0.5
    found = difference(values, inside, np.arange(300), seed=seed)
    assert found is not None
    return {"a difference of means": ((found.low, found.high), 0.5)}


def main() -> None:
    """Simulate, count, and write `results/coverage.json`."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--audits", type=int, default=1000)
    audits = asked.parse_args().audits
    kinds: tuple[Callable[..., dict[str, tuple[Ends, float]]], ...] = (sliced, drawn, compared)
    held: dict[str, list[bool]] = {}
    for seed in range(audits):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 77]))
        for kind in kinds:
            for name, ((low, high), truth) in kind(rng, seed).items():
                assert low is not None and high is not None, f"{name} has no interval"
                held.setdefault(name, []).append(low <= truth <= high)
    covered = {name: round(float(np.mean(each)), 4) for name, each in held.items()}
    write(
        "coverage",
        {
            "audits": audits, "covered": covered, "wanted": [LOW, HIGH],
            "holds": all(LOW <= share <= HIGH for share in covered.values()),
        },
        ("tellapart", "numpy"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
