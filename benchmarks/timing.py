"""Two sides measured in turn, and their ratio turn by turn."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

from _record import spread


def arguments(description: str) -> argparse.Namespace:
    """`--threads` and `--repeats`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for both sides (default: all cores)")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def compare(ours: Callable[[], Any], baseline: Callable[[], Any], *, items: int, repeats: int) -> dict[str, Any]:
    """Items a second of both, measured in turn; the ratio is taken turn by turn. Call both once before.

    The ratio of processor time is given too: it hardly moves when other programs run, but counts waiting threads.
    """
    wall: dict[str, list[float]] = {"ours": [], "baseline": []}
    cpu: dict[str, list[float]] = {"ours": [], "baseline": []}
    for _ in range(repeats):
        for name, call in (("ours", ours), ("baseline", baseline)):
            started, used = time.perf_counter(), time.process_time()
            call()
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - used)
    rates = {f"{name}_per_second": spread([items / s for s in times], 1) for name, times in wall.items()}
    ratios = {
        name: spread([b / a for a, b in zip(times["ours"], times["baseline"], strict=True)])
        for name, times in (("ratio", wall), ("ratio_of_processor_time", cpu))
    }
    return {"items": items, "repeats": repeats, **rates, **ratios}
