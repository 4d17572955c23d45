"""How the scores of positives and negatives lie while a run trains: the first thing to look at when it goes wrong.

The diagnostic is that of Zhu et al., "Improving Contrastive Learning by Visualizing Feature Transformation", ICCV 2021,
as whole histograms instead of means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tellapart.core.relation import Relation
from tellapart.engine.session import Run
from tellapart.engine.towers import encoded

BINS = 50
LOW, HIGH = -1.0, 1.0
LOOKS = 4
ROWS, ROWS_OF_ENCODERS = 256, 32
COLLAPSED = 0.9
FEW_NEGATIVES = 0.01
NO_BETTER = 0.6

Counts = dict[str, Any]


def looks(steps: int) -> set[int]:
    """The steps after which scores are looked at, beside the start and the end."""
    return {steps * look // LOOKS for look in range(1, LOOKS)} - {0, steps}


@torch.no_grad()
def score_counts(run: Run) -> Counts:
    """Counts of the scores of some training rows against each other, in `BINS` equal bins from -1 to 1.

    Returns:
        `step`, `positive` and `negative`: what the keys say, before any part of the recipe thinks otherwise.
    """
    inputs = {side: getattr(run.data, side) for side in ("query", "document")}
    most = ROWS_OF_ENCODERS if any(x.encodes for x in inputs.values()) else ROWS
    rows = np.unique(np.linspace(0, len(run.data.query) - 1, min(len(run.data.query), most)).astype(np.int64))
    q, k = (encoded(run.towers[side], x, rows, run.device) for side, x in inputs.items())
    keys = run.keys(rows)
    rel = Relation.of_keys(keys, keys, same_space=run.data.same_space)
    sim = (q @ k.T).clamp(LOW, HIGH)
    kinds = {"positive": rel.pos > 0, "negative": rel.neg > 0}
    counts = {name: torch.histc(sim[kind], BINS, LOW, HIGH).long().tolist() for name, kind in kinds.items()}
    return {"step": run.step, **counts}


def warnings(counts: Counts) -> list[str]:
    """What the scores at the end say in words; nothing where they look well."""
    pos, neg = (np.asarray(counts[name], float) for name in ("positive", "negative"))
    if not pos.sum() or not neg.sum():
        return []
    pos, neg = pos / pos.sum(), neg / neg.sum()
    if _median(neg) >= COLLAPSED:
        return [
            f"The vectors have collapsed: half of the negatives score above {_median(neg):.2f}. Train with a lower "
            "learning_rate, a lower temperature or more negatives (batch_size), and look for items that are all alike."
        ]
    below = np.cumsum(neg) - neg / 2
    if (pos * below).sum() < NO_BETTER:
        return [
            f"A positive scores above a negative in {(pos * below).sum():.0%} of the cases only: training has not told "
            "them apart. Look whether the pairs belong together, and train longer or with a higher learning_rate."
        ]
    above = float(neg[np.arange(BINS) > np.searchsorted(np.cumsum(pos), 0.5)].sum())
    if above >= FEW_NEGATIVES:
        return [
            f"{above:.1%} of the negatives score above half of the positives; they may be positives that nobody "
            "marked. Look with tellapart mine --explain, or try relate=drop-near-positive or relate=gist-embed."
        ]
    return []


def _median(shares: np.ndarray) -> float:
    """The middle of the bin that holds the median."""
    return float(LOW + (np.searchsorted(np.cumsum(shares), 0.5) + 0.5) * (HIGH - LOW) / BINS)
