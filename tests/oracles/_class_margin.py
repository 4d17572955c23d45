"""The loss of a row against class vectors, pair by pair: what strategies weigh beside it is of their own oracles."""

from __future__ import annotations

import math

MARGIN, TEMPERATURE = 0.2, 0.3
OBJECTIVE = f"cosface(margin={MARGIN}, temperature={TEMPERATURE})"


def cross_entropy(part, run, z, row):
    """Of the class of a row, with a margin; a class of one duplicate group is nothing to that group."""
    keys = run.data.keys
    classes = sorted(set(keys.target[keys.target >= 0].tolist()))
    lead, rest = 0.0, 0.0
    for c, vector in zip(classes, part.vectors.tolist(), strict=True):
        cosine = sum(a * b for a, b in zip(z, vector, strict=True)) / math.sqrt(sum(b * b for b in vector))
        if c == int(keys.target[row]):
            lead = math.exp((cosine - MARGIN) / TEMPERATURE)
        elif set(keys.group[keys.target == c].tolist()) != {int(keys.group[row])}:
            rest += math.exp(cosine / TEMPERATURE)
    return -math.log(lead / (lead + rest))
