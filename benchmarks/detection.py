"""Unseen classes told by every detection score, and false alarms at the threshold that is set for 5%.

    python benchmarks/detection.py [--splits 10] [--data digits mnist fashion wordnet]

Ten splits of the classes of each collection (`protocol.novelty`): 60% are known; of their items a half is fitted on,
20% set thresholds, 30% are the held-out stream, beside items of classes that nobody saw. Features are frozen. Every
`score` part that finds the unknown is taken with the settings that its grid below gives. `chosen` is what a user would
take: the score and setting of the highest AUROC against the unknown classes of validation, which are others than those
of the test. Differences are of the same splits, with intervals over them.

False alarms: the threshold lets all but 5% of the 20% through, as `tellapart detect` sets it; the share of the stream
that it stops is measured, by score, in the mean over the splits.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from _record import write

from tellapart.core.parts import make
from tellapart.engine import intervals
from tellapart.protocol._unknown import auroc
from tellapart.protocol.novelty import choices, parted

ALARMS, BETWEEN = 0.05, (0.03, 0.07)
CONTROLS = ("energy", "max-softmax", "knn")
GRIDS: dict[str, dict[str, list[Any]]] = {
    "energy": {},
    "max-softmax": {},
    "max-logit": {},
    "knn": {"k": [1, 5, 10, 20]},
    "mahalanobis-ood": {},
    "class-mixtures": {},
    "hvcm": {},
    "eps-ad": {},
}


def measured(data: str, seed: int) -> dict[str, Any]:
    """By score: AUROC of the test and false alarms of the setting that is best on validation; and which is best."""
    split, found = parted(data, seed, 1), {}
    for name, grid in GRIDS.items():
        best = -1.0
        for values in choices({k: v for k, v in grid.items()}) if grid else [{}]:
            fitted = make("score", name, **values).fit(split.x, split.y)
            known, unknown = (fitted.score(items) for items in split.tune)
            if (value := auroc(known, unknown)) > best:
                best = value
                stream, unseen = (fitted.score(items) for items in split.probe)
                threshold = np.quantile(known, 1 - ALARMS, method="higher")
                alarms = float(np.mean(stream > threshold))
                found[name] = {"validation": best, "auroc": auroc(stream, unseen), "alarms": alarms}
    chosen = max(found, key=lambda name: found[name]["validation"])
    return {**found, "chosen": {**found[chosen], "name": chosen}}


def told(values: list[float]) -> dict[str, float]:
    low, high = intervals.bootstrap(np.asarray(values))
    return {"mean": round(float(np.mean(values)), 4), "low": round(low, 4), "high": round(high, 4)}


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--splits", type=int, default=10)
    given.add_argument("--data", nargs="*", default=["digits", "mnist", "fashion", "wordnet"])
    given = given.parse_args()
    result: dict[str, Any] = {}
    for data in given.data:
        rows = [measured(data, seed) for seed in range(given.splits)]
        sys.stderr.write(f"{data}: {[row['chosen'] for row in rows]}\n")
        shown: dict[str, Any] = {name: told([row[name]["auroc"] for row in rows]) for name in (*GRIDS, "chosen")}
        above = {}
        for control in CONTROLS:
            pair = (np.asarray([row[name]["auroc"] for row in rows]) for name in (control, "chosen"))
            difference, low, high = intervals.paired(*pair)
            above[control] = {"difference": round(difference, 4), "low": round(low, 4), "high": round(high, 4)}
        result[data] = {
            "AUROC": shown,
            "chosen": [row["chosen"]["name"] for row in rows],
            "chosen against": above,
            "false alarms": {name: told([row[name]["alarms"] for row in rows]) for name in GRIDS},
        }
    facts = {"to reach": {"false alarms": BETWEEN, "chosen above": CONTROLS}, "splits": given.splits, "data": result}
    write("detection", facts, ["numpy", "scikit-learn"])


if __name__ == "__main__":
    main()
