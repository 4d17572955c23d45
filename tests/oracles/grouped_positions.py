"""The position of each token as the paper gives it, under the library's own BERT."""

from __future__ import annotations

import math

from tests.oracles._long import check_against

CASES: list[dict] = [{}, {"factor": 2, "threads": 1}]


def place(p: int, n: int, factor: int) -> float:
    return math.floor(p / math.ceil(n / 512))


def check(build, options: dict) -> None:
    check_against(build, options, place)
