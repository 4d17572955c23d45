"""The mean of what is near the names, by the loops of the oracle of lbl2vec without its outliers."""

from __future__ import annotations

from tests.oracles.lbl2vec import compare

CASES: list[dict] = [{}, {"at_least": 0.6, "fewest": 4, "most": 25, "temperature": 0.2}]


def check(build, options):
    compare(build, options, outliers=False)
