"""The position of each token as the paper gives it, under the library's own BERT."""

from __future__ import annotations

from tests.oracles._long import check_against

CASES: list[dict] = [{}, {"factor": 2, "threads": 1}]


def place(p: int, n: int, factor: int) -> float:
    return float(p % 512)


def check(build, options: dict) -> None:
    check_against(build, options, place)
